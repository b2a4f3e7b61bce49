"""Small skeleton animations of recordings for a page: the data for the page's script.

Sizes: M persons, T frames, V joints, C coordinates.
"""

import json
from collections.abc import Sequence

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import shown_joints
from flag3d_exp.report.document import Animations
from flag3d_exp.skeletons.layout import Layout

MAX_FRAMES = 60
LEFT, RIGHT, MIDDLE = "#0072B2", "#D55E00", "#333333"


def animations(
    recordings: Sequence[Recording], captions: Sequence[str], layout: Layout, up: int
) -> Animations:
    """A block of animations side by side, each with its caption.

    Args:
        recordings: at full length; they are subsampled to at most 60 frames.
        captions: plain text, one for each recording; newlines are kept.
        layout: of their joints.
        up: the upward axis of 3D coordinates, see `data.upright`.
    """
    clips = [json.dumps(_clip(one, layout, up), separators=(",", ":")) for one in recordings]
    return Animations(list(zip(clips, captions, strict=True)))


def _clip(recording: Recording, layout: Layout, up: int) -> dict:
    keypoints = recording.keypoints
    stride = -(-keypoints.shape[1] // MAX_FRAMES)
    points = keypoints[:, ::stride].astype(np.float64)  # (M, T, V, C)
    seen = shown_joints(recording, stride)
    flat = projected_joints(points, up)  # (M, T, V, 2)
    corner, scale = square_around(flat[seen])
    pixels = np.rint((flat - corner) * scale * 1000).astype(int)
    frames = [
        [
            [
                pixels[person, frame, joint].tolist() if seen[person, frame, joint] else 0
                for joint in range(flat.shape[2])
            ]
            for person in range(len(flat))
            if seen[person, frame].any()
        ]
        for frame in range(flat.shape[1])
    ]
    return {"frames": frames, "bones": _bones(layout), "milliseconds": 60}


def square_around(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Corner and scale that centre (n, 2) points in a square of side 1."""
    if not len(points):
        return np.zeros(2), 1.0
    low, high = points.min(0), points.max(0)
    side = max(float((high - low).max()), 1e-9)
    return (low + high - side) / 2, 1 / side


def projected_joints(points: np.ndarray, up: int) -> np.ndarray:
    """2D projection (right, down) from a viewpoint a little to the side."""
    if points.shape[-1] == 2:
        return points
    axis = up if up >= 0 else -1 - up
    upward = points[..., axis] * (1 if up >= 0 else -1)
    across, depth = (points[..., other] for other in range(3) if other != axis)
    turn = np.radians(30)
    right = across * np.cos(turn) + depth * np.sin(turn)
    return np.stack([right, -upward - 0.15 * (depth * np.cos(turn) - across * np.sin(turn))], -1)


def _bones(layout: Layout) -> list[list]:
    """The lines to draw, [from, to, colour]; left and right limbs have different colours."""
    bones = []
    for joint, other in layout.limbs:
        names = layout.joints[joint] + layout.joints[other]
        one_side = ("left" in names) != ("right" in names)
        colour = (LEFT if "left" in names else RIGHT) if one_side else MIDDLE
        bones.append([joint, other, colour])
    return bones
