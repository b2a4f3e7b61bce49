"""Joints of persons over time and their visibility: the input and output of every transform.

A joint is missing if all its coordinates are 0, or if its score is at most a threshold. For every
transform, a missing joint stays missing (0 in every channel) and does not affect other joints.
`Poses` enforces this: it sets the coordinates of missing joints to 0.

Sizes: M persons, T frames, V joints, D coordinates, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from flag3d_exp.data.annotations import Recording

CLOSE = 0.1  # of the root to the box of the other joints, in sizes of the box
LOW_SCORE = 0.05  # pictures leave out joints with a score of at most this


@dataclass(frozen=True)
class Poses:
    """Joints, their visibility and their scores. T may be several axes, for example clips.

    Args:
        keypoints: (M, T, V, D) coordinates, or a stream of them.
        visible: (M, T, V) bool, False where the joint is missing.
        scores: (M, T, V) float32; None if they are not known.
    """

    keypoints: np.ndarray
    visible: np.ndarray
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.visible.all():
            return
        object.__setattr__(self, "keypoints", _zeroed_poses(self.keypoints, ~self.visible))
        if self.scores is not None:
            object.__setattr__(self, "scores", _zeroed_poses(self.scores, ~self.visible))

    def moved_poses(self, keypoints: np.ndarray) -> "Poses":
        """The same joints at other coordinates."""
        return replace(self, keypoints=keypoints)

    def persons(self, order: np.ndarray) -> "Poses":
        """The persons with these indices, in this order."""
        return self._each(lambda array: array.take(order, 0))

    def frames(self, indices: np.ndarray) -> "Poses":
        """The frames with these indices; 2D indices give two axes of frames."""
        return self._each(lambda array: array.take(indices, 1))

    def at(self, times: np.ndarray) -> "Poses":
        """Poses at times (T,), in frames, by linear interpolation.

        A joint is missing at a time between two frames if it is missing in one of them.
        """
        before = np.clip(np.floor(times).astype(np.int64), 0, self.visible.shape[1] - 1)
        after = np.minimum(before + 1, self.visible.shape[1] - 1)
        share = (times - before).astype(np.float32)
        after = np.where(share > 0, after, before)
        first, second = self.frames(before), self.frames(after)
        share = share[:, None, None]
        keypoints = first.keypoints * (1 - share) + second.keypoints * share
        scores = None
        if first.scores is not None and second.scores is not None:
            scores = first.scores * (1 - share[..., 0]) + second.scores * share[..., 0]
        return Poses(keypoints, first.visible & second.visible, scores)

    def frames_at(self, indices: np.ndarray) -> "Poses":
        """As `frames`; a frame before the first or after the last has no visible joint."""
        num_frames = self.visible.shape[1]
        inside = (indices >= 0) & (indices < num_frames)
        if inside.all():
            return self.frames(indices)
        there = self.frames(indices.clip(0, num_frames - 1))
        return replace(there, visible=there.visible & inside[..., None])

    def joints(self, order: np.ndarray) -> "Poses":
        """The joints with these indices, in this order."""
        axis = self.visible.ndim - 1
        return self._each(lambda array: array.take(order, axis))

    def with_persons(self, num_persons: int) -> "Poses":
        """The first `num_persons` persons, padded with missing persons."""
        return self._each(lambda array: _first_persons(array, num_persons))

    def array(self, score_channel: bool) -> np.ndarray:
        """(M, T, V, C) float32.

        Args:
            score_channel: add the score as last channel; unknown scores of visible joints are 1.
        """
        if not score_channel:
            return self.keypoints.astype(np.float32, copy=False)
        scores = self.visible if self.scores is None else self.scores
        return np.concatenate([self.keypoints, scores[..., None]], -1, dtype=np.float32)

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> "Poses":
        scores = None if self.scores is None else change(self.scores)
        return Poses(change(self.keypoints), change(self.visible), scores)


def poses_of(
    recording: Recording,
    score_threshold: float | None = None,
    frames: np.ndarray | None = None,
    mask_missing: bool = True,
) -> Poses:
    """The poses of a recording, in float32, without persons who are missing in all frames.

    Args:
        score_threshold: joints with a score of at most this are missing; None means 0.
        frames: indices of the frames to use; None means all.
        mask_missing: False treats every joint as visible, with its stored value.
    """
    keypoints, scores = recording.keypoints, recording.scores
    if mask_missing and len(keypoints) > 1:
        there = visible(keypoints, scores, score_threshold).any((1, 2))
        if not there.all():
            kept = there.nonzero()[0] if there.any() else [0]
            keypoints, scores = keypoints[kept], None if scores is None else scores[kept]
    if frames is not None:
        keypoints = keypoints.take(frames, axis=1)
        scores = None if scores is None else scores.take(frames, axis=1)
    keypoints = keypoints.astype(np.float32, copy=False)
    scores = None if scores is None else scores.astype(np.float32, copy=False)
    if not mask_missing:
        return Poses(keypoints, np.ones(keypoints.shape[:-1], bool), scores)
    return Poses(keypoints, visible(keypoints, scores, score_threshold), scores)


def visible(
    keypoints: np.ndarray, scores: np.ndarray | None, score_threshold: float | None = None
) -> np.ndarray:
    """(M, T, V) bool: whether each joint of the keypoints (M, T, V, D) is visible."""
    nonzero = keypoints != 0
    # Combine axis by axis: `any` over a short axis is 20 times as slow.
    found = nonzero[..., 0]
    for axis in range(1, keypoints.shape[-1]):
        found = found | nonzero[..., axis]
    if scores is not None:
        found &= scores > (0 if score_threshold is None else score_threshold)
    return found


def shown_joints(recording: Recording, stride: int = 1) -> np.ndarray:
    """(M, T, V) bool: whether a picture shows each joint, for every `stride`-th frame.

    Joint 0 of a 3D recording is not missing if it alone is at the origin, among the others or close
    to them: it is the root in most layouts, and many recordings begin with the root there.
    """
    keypoints = recording.keypoints[:, ::stride]
    scores = None if recording.scores is None else recording.scores[:, ::stride]
    found = visible(keypoints, scores, LOW_SCORE)
    num_others = keypoints.shape[2] - 1
    if keypoints.shape[3] == 3 and num_others > 0:
        alone = ~found[..., 0] & (found.sum(-1) == num_others)
        if scores is not None:
            alone &= scores[..., 0] > LOW_SCORE
        others = keypoints[alone][found[alone]].reshape(-1, num_others, 3)
        low, high = others.min(1), others.max(1)
        margin = CLOSE * (high - low).max(-1, keepdims=True)
        found[alone, 0] = ((low <= margin) & (high >= -margin)).all(-1)
    return found


def _zeroed_poses(array: np.ndarray, where: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[where] = 0
    return array


def _first_persons(array: np.ndarray, num_persons: int) -> np.ndarray:
    lacking = num_persons - len(array)
    if lacking <= 0:
        return array[:num_persons]
    return np.concatenate([array, np.zeros((lacking, *array.shape[1:]), array.dtype)])
