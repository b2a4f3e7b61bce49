"""Azure Kinect body tracking: JSON of the SDK's `offline_processor`, in millimetres.

    {"joint_names": [...], "frames": [{"frame_id": 0, "bodies": [{"body_id": 1,
     "joint_positions": (32, 3)}]}]}

Sizes: V joints.
"""

from typing import Any

from flag3d_exp.data.formats.detections import Detections, Rows, entries, numbers, whole
from flag3d_exp.data.formats.mediapipe import y_down_to_y_up
from flag3d_exp.errors import UserError


def is_recording(content: Any) -> bool:
    """Whether a JSON file's content is a recording of Azure Kinect."""
    if not isinstance(content, dict) or not isinstance(content.get("frames"), list):
        return False
    frame = content["frames"][0] if content["frames"] else None
    return isinstance(frame, dict) and isinstance(frame.get("bodies"), list)


def read_recording(name: str, content: Any) -> Detections:
    """The bodies of a recording.

    Raises:
        UserError: the content is invalid; the message names the frame.
    """
    rows = Rows()
    for at, frame in enumerate(entries(content["frames"], "frames")):
        number = whole(frame.get("frame_id", at), "frame_id")
        rows.seen.append(number)
        try:
            for body in entries(frame.get("bodies"), "bodies"):
                places = numbers(body.get("joint_positions"), "joint_positions")
                if places.ndim != 2 or places.shape[1] != 3:
                    raise UserError(f"`joint_positions` must be (32, 3); got {places.shape}.")
                identity = body.get("body_id")
                rows.add(number, places, None,
                         -1 if identity is None else whole(identity, "body_id", 2**32))  # fmt: skip
        except UserError as error:
            raise UserError(f"{name!r}, frame {number}: {error}") from error
    layout = "azure" if rows.keypoints and len(rows.keypoints[0]) == 32 else None
    return rows.detections(name, layout, unit="millimetres", upwards=y_down_to_y_up)
