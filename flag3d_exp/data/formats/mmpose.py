"""Predictions of MMPose 1.x for videos and images, as saved by its demos and its inferencer.

    {"meta_info": {...}, "instance_info": [{"frame_id": 1, "instances": [...]}, ...]}
    [{"frame_id": 0, "instances": [{"keypoints": (V, 2 or 3), "keypoint_scores": (V,)}]}, ...]

For an image, the file is a list of instances without frames. Users' scripts also save lists of
frames with MMPose 0.x's instances: (V, 3) keypoints whose third number is the score.

Sizes: V joints, D coordinates.
"""

from typing import Any

import numpy as np

from flag3d_exp.data.formats.detections import Detections, Rows, entries, numbers, whole
from flag3d_exp.errors import UserError

LAYOUTS = {17: "coco", 26: "halpe26", 133: "wholebody"}
DATASETS = {"h36m": "h36m", "coco": "coco", "coco_wholebody": "wholebody", "halpe": "halpe26"}


def is_predictions(content: Any) -> bool:
    """Whether a JSON file's content is predictions of MMPose."""
    if isinstance(content, dict):
        return isinstance(content.get("instance_info"), list)
    if _is_nested(content):
        return True
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    return "instances" in content[0] or ("keypoints" in content[0] and _is_instance(content[0]))


def read_predictions(name: str, content: Any) -> Detections:
    """The persons of a video; an image is a video of one frame.

    Raises:
        UserError: a frame is invalid; the message names it.
    """
    meta: Any = None
    if isinstance(content, dict):
        meta, content = content.get("meta_info"), content["instance_info"]
    if _is_nested(content):
        content = [
            {"frame_id": at, "instances": _scored_instances(one)} for at, one in enumerate(content)
        ]
    frames = entries(content, "instance_info")
    if frames and "instances" not in frames[0]:
        frames = [{"frame_id": 0, "instances": content}]
    rows, invented = Rows(), 0
    for at, frame in enumerate(frames):
        number = whole(frame.get("frame_id", at), "frame_id")
        rows.seen.append(number)
        try:
            instances = entries(frame.get("instances"), "instances")
            if len(instances) == 1 and _is_whole_image(instances[0]):
                invented += 1
                continue
            for order, instance in enumerate(instances):
                keypoints, scores = _instance(instance)
                known = instance.get("track_id")
                identity = order if keypoints.shape[1] == 3 else -1
                identity = identity if known is None else whole(known, "track_id")
                rows.add(number, keypoints, scores, identity)
        except UserError as error:
            raise UserError(f"{name!r}, frame {number}: {error}") from error
    notes = []
    if invented:
        notes.append(f"{invented} frames in which nobody was detected (the box is the image)")
    num_coordinates = rows.keypoints[0].shape[1] if rows.keypoints else 2
    facts: dict[str, Any] = {"notes": tuple(notes)}
    if num_coordinates == 3:
        facts |= {"unit": "metres", "upwards": z_up_to_y_up}
        facts["notes"] += ("persons in 3D are identified by their order in a frame; z, which "
                           "points up in the file, becomes y",)  # fmt: skip
    return rows.detections(name, _layout(meta, rows, num_coordinates), **facts)


def z_up_to_y_up(keypoints: np.ndarray) -> np.ndarray:
    """(..., 3) coordinates with z upwards, rotated so that y is upwards."""
    return np.stack([keypoints[..., 0], keypoints[..., 2], -keypoints[..., 1]], -1)


def _instance(instance: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates (V, D) and scores (V,) of a person."""
    keypoints = numbers(instance.get("keypoints"), "keypoints")
    if keypoints.ndim == 3 and len(keypoints) == 1:  # with an extra axis, as boxes have
        keypoints = keypoints[0]
    if keypoints.ndim != 2 or keypoints.shape[1] not in (2, 3) or not len(keypoints):
        raise UserError(f"`keypoints` must be (joints, 2 or 3); got shape {keypoints.shape}.")
    scores = instance.get("keypoint_scores")
    if scores is None:
        return keypoints, None
    flat = numbers(scores, "keypoint_scores")
    if flat.ndim == 2 and len(flat) == 1:
        flat = flat[0]
    if flat.shape != keypoints.shape[:1]:
        raise UserError(f"`keypoint_scores` must be {len(keypoints)}; got shape {flat.shape}.")
    return keypoints, flat


def _is_instance(one: dict[str, Any]) -> bool:
    """Whether an object is an MMPose person, not a `plain_files` recording: `keypoints` is 2D."""
    joints = one["keypoints"]
    for _ in range(2):
        joints = joints[0] if isinstance(joints, list) and joints else None
    return "keypoint_scores" in one and isinstance(joints, int | float)


def _is_nested(content: Any) -> bool:
    """Whether it is a list of frames of instances of MMPose 0.x, as users' scripts save them."""
    if not isinstance(content, list) or not all(isinstance(frame, list) for frame in content):
        return False
    first = next((frame[0] for frame in content if frame), None)
    if not isinstance(first, dict):
        return False
    joints = first.get("keypoints")
    joints = joints[0] if isinstance(joints, list) and joints else None
    return isinstance(joints, list) and len(joints) == 3


def _scored_instances(instances: list[Any]) -> list[Any]:
    """MMPose 0.x instances with the third number of each joint moved to the scores."""
    made = []
    for instance in entries(instances, "instances"):
        joints = numbers(instance.get("keypoints"), "keypoints")
        if joints.ndim != 2 or joints.shape[1] != 3:
            raise UserError(f"`keypoints` must be (joints, 3); got shape {joints.shape}.")
        parts = {"keypoints": joints[:, :2].tolist(), "keypoint_scores": joints[:, 2].tolist()}
        made.append({key: instance[key] for key in ("track_id",) if key in instance} | parts)
    return made


def _is_whole_image(instance: dict[str, Any]) -> bool:
    """Whether the box begins at (0, 0) and has score 1, which means that nobody was detected."""
    box, score = instance.get("bbox"), instance.get("bbox_score")
    while isinstance(box, list) and len(box) == 1:
        box = box[0]
    return score == 1 and isinstance(box, list) and len(box) == 4 and box[0] == box[1] == 0


def _layout(meta: Any, rows: Rows, num_coordinates: int) -> str | None:
    num_joints = len(rows.keypoints[0]) if rows.keypoints else 0
    dataset = meta.get("dataset_name") if isinstance(meta, dict) else None
    named = DATASETS.get(dataset) if isinstance(dataset, str) else None
    if num_joints == 17 and num_coordinates == 3:
        return "h36m"
    expected = {17: ("coco", "h36m"), 26: ("halpe26",), 133: ("wholebody",)}.get(num_joints, ())
    return named if named in expected else LAYOUTS.get(num_joints)
