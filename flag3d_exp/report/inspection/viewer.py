"""A self-contained HTML page that plays recordings and lets the user rotate them.

Sizes: M persons, T frames, V joints.
"""

import math
from collections.abc import Sequence

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import shown_joints
from flag3d_exp.errors import visible
from flag3d_exp.report.animation import LEFT, RIGHT
from flag3d_exp.report.inspection.pictures import coloured_bones
from flag3d_exp.report.pages import page
from flag3d_exp.skeletons.layout import Layout

MAX_FRAMES = 240
SIDES = {LEFT: "left", RIGHT: "right"}


def viewer(recordings: Sequence[Recording], titles: Sequence[str], layout: Layout, up: int) -> str:
    """The HTML page.

    Args:
        titles: one for each recording, for the selection list.
        up: the upward axis of 3D coordinates, see `data.upright`.
    """
    data = {
        "flat": recordings[0].keypoints.shape[-1] == 2,
        "bones": [
            (start, end, SIDES.get(colour, "middle"))
            for start, end, colour in coloured_bones(layout)
        ],
        "recordings": [
            {"title": visible(title), **_frames(recording, up)}
            for recording, title in zip(recordings, titles, strict=True)
        ],
    }
    return page("viewer.html", data=data)


def _frames(recording: Recording, up: int) -> dict:
    """Joints (right, up, depth) in thousandths of a cube around the origin, 0 where missing."""
    stride = math.ceil(recording.keypoints.shape[1] / MAX_FRAMES)
    keypoints = recording.keypoints[:, ::stride].astype(np.float64)
    seen = shown_joints(recording, stride)
    points = _upright(keypoints, up)
    if seen.any():
        low, high = points[seen].min(0), points[seen].max(0)
        points = (points - (low + high) / 2) / max(float((high - low).max()), 1e-9)
    thousandths = np.rint(points * 1000).astype(int).tolist()
    frames = [
        [
            [joint if there else 0 for joint, there in zip(person, seen_joints, strict=True)]
            for person, seen_joints in zip(persons, seen_persons, strict=True)
        ]
        for persons, seen_persons in zip(
            zip(*thousandths, strict=True), seen.swapaxes(0, 1).tolist(), strict=True
        )
    ]
    return {
        "frames": frames,
        "floor": float(points[seen][:, 1].min()) if seen.any() else -0.5,
        "stride": stride,
        "numbers": list(range(0, recording.keypoints.shape[1], stride)),
        "length": recording.keypoints.shape[1],
    }


def _upright(keypoints: np.ndarray, up: int) -> np.ndarray:
    """(M, T, V, 3) right, up, depth; a proper rotation, so nothing is mirrored."""
    if keypoints.shape[-1] == 2:
        x, y = keypoints[..., 0], keypoints[..., 1]
        return np.stack([x, -y, np.zeros_like(x)], -1)
    axis = up if up >= 0 else -1 - up
    sign = 1 if up >= 0 else -1
    right, depth = keypoints[..., (axis + 1) % 3], keypoints[..., (axis + 2) % 3]
    # The page's depth points away from the viewer.
    return np.stack([right, sign * keypoints[..., axis], sign * depth], -1)
