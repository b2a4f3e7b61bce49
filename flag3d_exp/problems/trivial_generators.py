"""Recordings that no network is needed for: what a generator must beat.

Sizes: n recordings, T frames, V joints.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.problems.sampling import resampled_joints

NOISE = 0.02  # metres, standard deviation of each coordinate


def noisy_recordings(
    recordings: Sequence[Recording], count: int, metres: float, rng: np.random.Generator
) -> list[Recording]:
    """`count` random recordings (all, if there are fewer) with noise on each coordinate.

    Args:
        metres: one unit of the recordings in metres. Missing joints stay missing.
    """
    chosen = rng.permutation(len(recordings))[:count]
    made = []
    for one in (recordings[index] for index in chosen.tolist()):
        noise = rng.standard_normal(one.keypoints.shape, np.float32) * np.float32(NOISE / metres)
        there = one.keypoints.any(-1, keepdims=True)
        made.append(replace(one, keypoints=one.keypoints + noise * there, generated=True))
    return made


def mean_recordings(
    recordings: Sequence[Recording], clips: np.ndarray, order: Sequence[int], metres: float
) -> list[Recording]:
    """The mean of each class's recordings, as long as their median.

    Args:
        clips: (n, T, V, 3) joints in metres of the recordings, placed and turned alike.
        order: the axes of the recordings that are right, ahead and up in `clips`.
        metres: one unit of the recordings in metres.
    """
    labels = np.array([one.label for one in recordings])
    lengths = np.array([one.keypoints.shape[1] for one in recordings])
    made = []
    for label in np.unique(labels).tolist():
        mean = clips[labels == label].mean(0, dtype=np.float64) / metres
        joints = resampled_joints(mean, int(np.median(lengths[labels == label])))
        keypoints = np.empty((1, *joints.shape), np.float32)
        keypoints[0][..., list(order)] = joints
        made.append(Recording(f"mean_{label:03d}", label, keypoints, generated=True))
    return made
