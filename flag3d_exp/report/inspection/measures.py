"""What one recording looks like in numbers: the raw material of the findings.

Sizes: M persons, T0 frames, V joints, C coordinates.
"""

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.skeletons.layout import Layout

# The person in names such as S001C002P003R001A004 (NTU RGB+D) or S002C002M001P003A004R001 (FLAG3D),
# or at the front of PLAY_A001_V001_R001_S001.
PERSON = re.compile(r"^S\d{3}C\d{3}(?:M\d{3})?(P\d{3})|^([A-Z]{3,5})_A\d{3}_")


@dataclass(frozen=True)
class Measures:
    """Shares are of frames or of joints in all frames, 0 to 1.

    Args:
        zero: share of frames in which every joint is exactly 0.
        frozen: share of frames equal to the one before.
        bone_spread: how much a typical bone's length varies: the median over bones of standard
            deviation over mean; 0 in 2D, where lengths vary with the view.
        bone_detour: length of all bones in the middle frame, over that of the shortest tree through
            the joints: 1 to 2 for a body, more if the joints are in another order.
        bone_length: median length of all bones in all frames, in the coordinates' unit.
        outside: share of joints outside the image; 0 where there is none.
        scores: least and greatest score; None without scores.
        extent: largest absolute coordinate.
        content: digest of all coordinates.
    """

    num_frames: int
    num_persons: int
    zero: float
    frozen: float
    bone_spread: float
    bone_detour: float
    bone_length: float
    outside: float
    scores: tuple[float, float] | None
    extent: float
    content: bytes


def measure(recording: Recording, layout: Layout) -> Measures:
    """The measures of a recording whose joints are those of the layout, all finite."""
    keypoints = recording.keypoints.astype(np.float32)  # (M, T0, V, C)
    num_persons, num_frames, _, num_coordinates = keypoints.shape
    zero = ~np.asarray(keypoints.any((0, 2, 3)))
    same = (keypoints[:, 1:] == keypoints[:, :-1]).all((0, 2, 3)) & ~zero[1:]
    spread, length = _bones(keypoints[0], layout)
    scores = recording.scores
    return Measures(
        num_frames=num_frames,
        num_persons=num_persons,
        zero=float(zero.mean()),
        frozen=float(same.mean()) if num_frames > 1 else 0.0,
        bone_spread=spread if num_coordinates == 3 else 0.0,
        bone_detour=_detour(keypoints[0, num_frames // 2], layout),
        bone_length=length,
        outside=_outside(recording, keypoints),
        scores=None if scores is None else (float(scores.min()), float(scores.max())),
        extent=float(np.abs(keypoints).max()),
        content=hashlib.sha256(recording.keypoints.tobytes()).digest(),
    )


def subject(recording: Recording) -> str | None:
    """Who moves, as the file says, or else as the name says in the way of NTU RGB+D and FLAG3D."""
    if recording.subject is not None:
        return recording.subject
    match = PERSON.match(recording.name)
    return next(filter(None, match.groups())) if match else None


def _bones(joints: np.ndarray, layout: Layout) -> tuple[float, float]:
    """Spread and median of the bones' lengths in the frames (T0, V, C) of one person."""
    joints = joints[joints.any((1, 2))]
    if not len(joints):
        return 0.0, 0.0
    ends = np.array([joint for joint, parent in enumerate(layout.parents) if parent >= 0])
    starts = np.array([parent for parent in layout.parents if parent >= 0])
    lengths = np.linalg.norm(joints[:, ends] - joints[:, starts], axis=-1)  # (T0, bones)
    mean = lengths.mean(0)
    real = mean > 1e-3 * max(mean.max(), 1e-9)  # some layouts repeat a joint
    if not real.any():
        return 0.0, 0.0
    spread = np.median(lengths.std(0)[real] / mean[real])
    return float(spread), float(np.median(lengths[:, real]))


def _detour(joints: np.ndarray, layout: Layout) -> float:
    """Length of the bones between the (V, C) joints over that of their minimum spanning tree."""
    ends = [(joint, parent) for joint, parent in enumerate(layout.parents) if parent >= 0]
    distances = np.linalg.norm(joints[:, None] - joints[None], axis=-1)
    shortest, reached, to_tree = 0.0, [0], distances[0].copy()
    while len(reached) < len(joints):  # Prim's algorithm
        to_tree[reached] = np.inf
        nearest = int(to_tree.argmin())
        shortest += float(to_tree[nearest])
        reached.append(nearest)
        to_tree = np.minimum(to_tree, distances[nearest])
    length = sum(float(distances[joint, parent]) for joint, parent in ends)
    return length / shortest if shortest else 1.0


def _outside(recording: Recording, keypoints: np.ndarray) -> float:
    if recording.image_shape is None or keypoints.shape[-1] != 2:
        return 0.0
    height, width = recording.image_shape
    seen = np.asarray(keypoints.any(-1))
    if recording.scores is not None:
        seen &= np.asarray(recording.scores > 0.05)
    outside = ((keypoints < 0) | (keypoints > (width, height))).any(-1) & seen
    return float(outside.sum() / max(seen.sum(), 1))
