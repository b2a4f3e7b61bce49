"""What an augmentation takes and returns.

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
    """Poses, and what an augmentation may have to know of them.

    Args:
        poses: (M, T, V, D).
        layout: of the joints.
        image_shape: (height, width) that the keypoints are pixels of; None if they are no pixels.
        donors: recordings of the same class, the clip's own among them.
    """

    poses: Poses
    layout: Layout
    image_shape: tuple[int, int] | None = None
    donors: Sequence[Recording] = ()

    def of(self, poses: Poses) -> "Clip":
        """The clip with other poses."""
        return replace(self, poses=poses)


class Augmentation(Protocol):
    """A random change: a frozen dataclass whose attribute `stage` says what it changes.

    With `recording`, it changes joints as they were recorded, before they are normalised and made a
    stream. With `clip`, it changes what the network gets. Streams are linear in the joints, so such
    a change must be linear in the coordinates; then joint, bone and motion clips agree.
    """

    @property
    def stage(self) -> Any:
        """`recording` or `clip`."""
        ...

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """Another clip. It draws nothing from `rng` where its settings switch it off."""
        ...


def happens(probability: float, rng: np.random.Generator) -> bool:
    """Whether to change a clip; draws nothing if `probability` is 0."""
    return probability > 0 and rng.random() < probability


def box_size(poses: Poses, num_frames: int = 16) -> float:
    """The median over frames of the longer side of the box around a person; 0 if nobody is seen.

    Args:
        num_frames: how many evenly spaced frames to look at.
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
    """(T,) bool: true in stretches of `length` frames that cover about this share of the frames."""
    if share <= 0:
        return np.zeros(num_frames, bool)
    begins = np.cumsum(rng.random(num_frames + length) < min(share / length, 1.0))
    return begins[length:] > begins[:-length]


def check_range(name: str, pair: Sequence[float], high: float | None = None) -> str | None:
    """What is wrong with a range of shares, [least, largest], above 0 and up to `high`."""
    if len(pair) == 2 and 0 < pair[0] <= pair[1] and (high is None or pair[1] <= high):
        return None
    limit = "above 0" if high is None else f"above 0 and at most {high:g}"
    return f"`augment.{name}` must be two rising numbers {limit}; got {list(pair)}."
