"""Measures of one recording, on which the findings are based.

Sizes: M persons, T0 frames, V joints, C coordinates.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import shown_joints, visible
from flag3d_exp.skeletons.layout import Layout


@dataclass(frozen=True)
class Measures:
    """Measures of a recording; shares are from 0 to 1.

    Args:
        zero: share of frames in which every joint is missing.
        missing: share of missing joints, over all persons and frames.
        centered: whether the layout's centre joint is visible in any frame.
        frozen: share of frames that equal the previous frame.
        bone_spread: variation of bone lengths: the median over bones of standard deviation / mean;
            0 in 2D, where lengths vary with the view.
        bone_detour: total length of the bones / length of the joints' minimum spanning tree, in the
            middle one of the frames with most joints: up to 2 for a body, more if the joints are
            in another order.
        bone_length: median length of all bones in all frames, in the coordinates' unit.
        outside: share of joints outside the image; 0 without an image.
        scores: lowest and highest score; None without scores.
        extent: largest absolute coordinate.
        content: digest of all coordinates.
    """

    num_frames: int
    num_persons: int
    zero: float
    missing: float
    centered: bool
    frozen: float
    bone_spread: float
    bone_detour: float
    bone_length: float
    outside: float
    scores: tuple[float, float] | None
    extent: float
    content: bytes


def measure(recording: Recording, layout: Layout, score_threshold: float | None = None) -> Measures:
    """The measures of a recording with the layout's joints and finite coordinates.

    Args:
        score_threshold: joints with a score of at most this are missing; None means 0.
    """
    keypoints = recording.keypoints.astype(np.float32)  # (M, T0, V, C)
    num_persons, num_frames, _, num_coordinates = keypoints.shape
    scores = recording.scores
    there = visible(keypoints, scores, score_threshold)
    zero = ~there.any((0, 2))
    same = (keypoints[:, 1:] == keypoints[:, :-1]).all((0, 2, 3)) & ~zero[1:]
    spread, length = _bones(keypoints[0], there[0], layout)
    return Measures(
        num_frames=num_frames,
        num_persons=num_persons,
        zero=float(zero.mean()),
        missing=1 - float(there.mean()),
        centered=bool(there[:, :, layout.center].any()),
        frozen=float(same.mean()) if num_frames > 1 else 0.0,
        bone_spread=spread if num_coordinates == 3 else 0.0,
        bone_detour=_detour(keypoints[0], there[0], layout),
        bone_length=length,
        outside=_outside(recording, keypoints),
        scores=None if scores is None else (float(scores.min()), float(scores.max())),
        extent=float(np.abs(keypoints).max()),
        content=hashlib.sha256(recording.keypoints.tobytes()).digest(),
    )


def _bones(joints: np.ndarray, there: np.ndarray, layout: Layout) -> tuple[float, float]:
    """Spread and median of one person's bone lengths.

    Args:
        joints: (T0, V, C).
        there: (T0, V), whether joints are visible; bones of missing joints do not count.
    """
    ends, starts = layout.bones.T
    lengths = np.linalg.norm(joints[:, ends] - joints[:, starts], axis=-1)  # (T0, bones)
    seen = there[:, ends] & there[:, starts]
    count = np.maximum(seen.sum(0), 1)
    mean = (lengths * seen).sum(0) / count
    real = mean > 1e-3 * max(mean.max(), 1e-9)  # some layouts have bones of length 0
    if not real.any():
        return 0.0, 0.0
    variance = (np.square(lengths - mean) * seen).sum(0) / count
    spread = np.median(np.sqrt(variance[real]) / mean[real])
    return float(spread), float(np.median(lengths[:, real][seen[:, real]]))


def _detour(joints: np.ndarray, there: np.ndarray, layout: Layout) -> float:
    """Total length of the bones / length of the joints' minimum spanning tree, in one frame.

    Args:
        joints: (T0, V, C) of one person.
        there: (T0, V), whether joints are visible; bones of missing joints do not count.
    """
    counts = there.sum(1)
    fullest = (counts == counts.max()).nonzero()[0]
    frame = fullest[np.abs(fullest - len(joints) // 2).argmin()]
    distances = np.linalg.norm(joints[frame][:, None] - joints[frame][None], axis=-1)
    length = sum(
        float(distances[joint, parent])
        for joint, parent in enumerate(layout.parents)
        if parent >= 0 and there[frame, joint] and there[frame, parent]
    )
    distances = distances[np.ix_(there[frame], there[frame])]
    if not len(distances):
        return 1.0
    shortest, reached, to_tree = 0.0, [0], distances[0].copy()
    while len(reached) < len(distances):  # Prim's algorithm
        to_tree[reached] = np.inf
        nearest = int(to_tree.argmin())
        shortest += float(to_tree[nearest])
        reached.append(nearest)
        to_tree = np.minimum(to_tree, distances[nearest])
    return length / shortest if shortest else 1.0


def _outside(recording: Recording, keypoints: np.ndarray) -> float:
    if recording.image_shape is None or keypoints.shape[-1] != 2:
        return 0.0
    height, width = recording.image_shape
    seen = shown_joints(recording)
    outside = ((keypoints < 0) | (keypoints > (width, height))).any(-1) & seen
    return float(outside.sum() / max(seen.sum(), 1))
