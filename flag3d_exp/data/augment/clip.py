"""The input and output of an augmentation.

Sizes: M persons, T frames, V joints, D coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import Poses
from flag3d_exp.skeletons.layout import Layout


@dataclass(frozen=True)
class Clip:
    """Poses, and facts about them that augmentations need.

    Args:
        poses: (M, T, V, D).
        layout: of the joints.
        image_shape: (height, width) in pixels; None if the keypoints are not in pixels.
        donors: recordings of the same class, including the clip's own.
        score_threshold: joints of donors with a score of at most this are missing; None means 0.
    """

    poses: Poses
    layout: Layout
    image_shape: tuple[int, int] | None = None
    donors: Sequence[Recording] = ()
    score_threshold: float | None = None

    def of(self, poses: Poses) -> "Clip":
        """The clip with other poses."""
        return replace(self, poses=poses)


class Augmentation(Protocol):
    """A random change: a frozen dataclass whose attribute `stage` says when it is applied.

    With `recording`, it is applied to the recorded joints, before normalisation and the stream.
    With `clip`, it is applied to the network's input. A stream is a linear map of the joints, so
    such a change must be linear in the coordinates; then joint, bone and motion clips agree.
    """

    @property
    def stage(self) -> Any:
        """`recording` or `clip`."""
        ...

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The changed clip. Draws nothing from `rng` if the settings switch the change off."""
        ...


def happens(probability: float, rng: np.random.Generator) -> bool:
    """Whether to change a clip; draws nothing if `probability` is 0."""
    return probability > 0 and rng.random() < probability


def box_size(poses: Poses, num_frames: int = 16) -> float:
    """Median over frames of the longer side of a person's bounding box; 0 if nobody is visible.

    Args:
        num_frames: number of evenly spaced frames to measure.
    """
    frames = np.linspace(0, poses.visible.shape[1] - 1, num_frames).astype(np.int64)
    some = poses.frames(np.unique(frames))
    hidden = ~some.visible[..., None]
    high = np.where(hidden, -np.inf, some.keypoints).max(2)  # (M, n, D)
    low = np.where(hidden, np.inf, some.keypoints).min(2)
    sides = (high - low).max(-1)
    sides = sides[np.isfinite(sides)]
    return float(np.median(sides)) if sides.size else 0.0


def in_stretches(
    num_frames: int, share: float, length: int, rng: np.random.Generator
) -> np.ndarray:
    """(T,) bool: random runs of `length` frames that cover about this share of all frames."""
    if share <= 0:
        return np.zeros(num_frames, bool)
    begins = np.cumsum(rng.random(num_frames + length) < min(share / length, 1.0))
    return begins[length:] > begins[:-length]
