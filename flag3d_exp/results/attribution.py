"""Attribution of a score to joints and frames by integrated gradients, checked by deletion.

The baseline is the skeleton frozen at its mean pose, so a joint's attribution measures the effect
of its motion. Sizes: N clips of one recording, M persons, T frames, V joints, C channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# clips (B, M, T, V, C) -> gradient of each clip's log-score of the label with respect to it.
Gradient = Callable[[np.ndarray], np.ndarray]
# clips (B, M, T, V, C) -> the label's score, (B,).
Score = Callable[[np.ndarray], np.ndarray]
BATCH_SIZE = 8


@dataclass(frozen=True)
class DeletionCheck:
    """The label's score while joints are frozen one by one.

    Attributes:
        by_importance: (V + 1,) most important joints first.
        at_random: (V + 1,) mean over random orders.
    """

    by_importance: np.ndarray
    at_random: np.ndarray

    @property
    def areas(self) -> tuple[float, float]:
        """The mean score of both curves; a lower mean means that the score falls faster."""
        return float(self.by_importance.mean()), float(self.at_random.mean())

    @property
    def is_passed(self) -> bool:
        """Whether the score falls faster for the important joints than for a random order.

        The difference must be at least 0.001, so that a network that ignores its input fails.
        """
        by_importance, at_random = self.areas
        return at_random - by_importance > 1e-3


def integrated_gradients(gradient: Gradient, clips: np.ndarray, num_steps: int) -> np.ndarray:
    """Attribution (T, V) of a recording: the contribution of each joint and frame to the log-score.

    Integrated gradients (Sundararajan et al. 2017) from the frozen skeleton, by the midpoint rule,
    summed over persons and channels and averaged over clips. The sum over joints and frames is
    approximately the difference in log-score between the recording and its frozen skeleton.
    """
    baseline = frozen(clips, range(clips.shape[3]))
    change = clips - baseline
    shares = (np.arange(num_steps, dtype=np.float32) + 0.5) / num_steps
    path = baseline + shares[:, None, None, None, None, None] * change
    slopes = in_batches(gradient, path.reshape(-1, *clips.shape[1:])).reshape(path.shape)
    attribution = slopes.mean(axis=0, dtype=np.float64) * change  # (N, M, T, V, C)
    return attribution.sum(axis=(1, 4)).mean(axis=0)


def frozen(clips: np.ndarray, joints: Sequence[int]) -> np.ndarray:
    """The clips with these joints held at their mean over time."""
    held = clips.copy()
    chosen = list(joints)
    held[:, :, :, chosen] = clips[:, :, :, chosen].mean(axis=2, keepdims=True)
    return held


def deletion_curve(score: Score, clips: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """The label's score (V + 1,) with none, the first, the first two ... joints frozen."""
    steps = np.stack([frozen(clips, order[:count]) for count in range(len(order) + 1)])
    scores = in_batches(score, steps.reshape(-1, *clips.shape[1:]))
    return scores.reshape(len(steps), len(clips)).mean(axis=1)


def check_by_deletion(
    score: Score, clips: np.ndarray, attribution: np.ndarray, num_random: int, seed: int = 0
) -> DeletionCheck:
    """Freeze joints in the order of their attribution (T, V), and in random orders."""
    rng = np.random.default_rng(seed)
    importance = attribution.sum(axis=0)
    ordered = deletion_curve(score, clips, np.argsort(-importance, kind="stable").tolist())
    orders = [rng.permutation(len(importance)).tolist() for _ in range(num_random)]
    random = np.mean([deletion_curve(score, clips, order) for order in orders], axis=0)
    return DeletionCheck(ordered, random)


def in_batches(
    function: Callable[[np.ndarray], np.ndarray], clips: np.ndarray, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """The function of all clips; the last batch is padded, so that all batches have one shape."""
    found = []
    for start in range(0, len(clips), batch_size):
        part = clips[start : start + batch_size]
        filled = np.concatenate([part, np.repeat(part[-1:], batch_size - len(part), axis=0)])
        found.append(function(filled)[: len(part)])
    return np.concatenate(found)
