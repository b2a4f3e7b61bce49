"""OpenPose's JSON files, one per frame; RTMLib and pose editors for ControlNet write them too.

    {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, score, ...]}]}

Sizes: n detections, V joints.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flag3d_exp.data.formats.detections import Detections, Rows, entries, triples, whole
from flag3d_exp.errors import UserError

KEYS = ("pose_keypoints_2d", "pose_keypoints")  # early versions use the second
LAYOUTS = {17: "coco", 18: "openpose", 26: "halpe26", 133: "wholebody"}
# Distances, relative to the trunk's length, from joints 1 and 8 to the middle of the two joints
# from which BODY_25 computes them: the largest one for BODY_25, the smallest one for BODY_25B.
NEAR, FAR = 0.08, 0.2


def is_frame(content: Any) -> bool:
    """Whether a JSON file's content is a frame of OpenPose."""
    return isinstance(content, dict) and isinstance(content.get("people"), list)


def is_kinetics(content: Any) -> bool:
    """Whether it is a video of Kinetics-skeleton, as published by ST-GCN's authors."""
    frames = content.get("data") if isinstance(content, dict) else None
    return isinstance(frames, list) and bool(frames) and "skeleton" in (frames[0] or ())


def read_frames(name: str, frames: Sequence[tuple[int, Any]]) -> Detections:
    """The persons in the frames of a video.

    Args:
        frames: number and content of each.

    Raises:
        UserError: a frame is invalid; the message names it.
    """
    rows, shape, left_out = Rows(), None, False
    for number, content in frames:
        rows.seen.append(number)
        try:
            if not is_frame(content):
                raise UserError("it must be an object with `people`.")
            canvas = [content.get(key) for key in ("canvas_height", "canvas_width")]
            if None not in canvas:
                shape = whole(canvas[0], "canvas_height"), whole(canvas[1], "canvas_width")
            for person in content["people"]:
                left_out |= _add(rows, number, person)
        except UserError as error:
            raise UserError(f"{name!r}, frame {number}: {error}") from error
    notes = ["hands and faces of OpenPose are left out"] if left_out else []
    return _detections(rows, name, shape, notes)


def read_kinetics(name: str, content: Any) -> Detections:
    """The persons of a Kinetics-skeleton file: `{"data": [{"frame_index", "skeleton"}]}`."""
    rows = Rows()
    for frame in entries(content["data"], "data"):
        number = whole(frame.get("frame_index"), "frame_index")
        rows.seen.append(number)
        for person in entries(frame.get("skeleton"), "skeleton"):
            pairs = np.array(person.get("pose"), object)
            scores = np.array(person.get("score"), object)
            if pairs.ndim != 1 or pairs.size != 2 * scores.size or not scores.size:
                raise UserError(f"{name!r}, frame {number}: `pose` and `score` do not fit.")
            flat = np.concatenate([pairs.reshape(-1, 2), scores.reshape(-1, 1)], 1).ravel()
            values = triples(flat.tolist(), "pose")
            rows.add(number, values[:, :2], values[:, 2])
    return _detections(rows, name, None, [])


def layout_of(keypoints: np.ndarray) -> tuple[str | None, str | None]:
    """The layout of joints (n, V, 2), and the reason for the choice; either may be None.

    BODY_25 and BODY_25B both have 25 joints. Only in BODY_25, joints 1 and 8 are the middle of the
    shoulders (2, 5) and of the hips (9, 12).
    """
    num_joints = keypoints.shape[1]
    if num_joints != 25:
        return LAYOUTS.get(num_joints), None
    seen = keypoints.any(-1)
    offsets = []
    for middle, first, second in ((1, 2, 5), (8, 9, 12)):
        there = seen[:, [middle, first, second]].all(1)
        between = (keypoints[there, first] + keypoints[there, second]) / 2
        offsets.append(np.linalg.norm(keypoints[there, middle] - between, axis=-1))
    sizes = np.array([np.ptp(one[own], axis=0).max() for one, own in zip(keypoints, seen,
                      strict=True) if own.any()])  # fmt: skip
    distances = np.concatenate(offsets)
    if not len(distances) or not sizes.max():
        return None, None
    offset = float(np.median(distances) / np.median(sizes))
    if offset < NEAR / 2:
        return "body25", "joints 1 and 8 are in the middle of shoulders and hips: BODY_25"
    if offset > FAR / 2:
        return "body25b", "joints 1 and 8 are not in the middle of shoulders and hips: BODY_25B"
    return None, None


def _add(rows: Rows, number: int, person: Any) -> bool:
    """Add a person if it has a body; return whether it also has hands or a face."""
    if person is None or (isinstance(person, dict) and not person):
        return False
    if not isinstance(person, dict):
        raise UserError("a person must be an object.")
    body = next((person[key] for key in KEYS if person.get(key)), None)
    others = [key for key in person if key not in KEYS and "_keypoints" in str(key)]
    if body is not None:
        values = triples(body, "pose_keypoints_2d")
        rows.add(number, values[:, :2], values[:, 2])
    return any(person[key] for key in others)


def _detections(rows: Rows, name: str, shape: Any, notes: list[str]) -> Detections:
    found = rows.detections(name, None)
    layout, reason = layout_of(found.keypoints)
    notes += [reason] if reason else []
    return Detections(
        name,
        layout,
        found.frames,
        found.keypoints,
        found.scores,
        span=found.span,
        unit=_signed_unit(found.keypoints),
        image_shape=shape,
        notes=tuple(notes),
    )


def _signed_unit(keypoints: np.ndarray) -> Any:
    """`signed` if coordinates are -1 to 1, as with `--keypoint_scale 4`; None otherwise."""
    places = keypoints[keypoints.any(-1)]
    within = len(places) and np.abs(places).max() <= 1.0
    return "signed" if within and (places < -0.05).mean() > 0.05 else None
