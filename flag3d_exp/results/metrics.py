"""Classification metrics from scores and labels.

Sizes: N recordings, K classes. `scores` (N, K) are probabilities; `labels` (N,) class numbers;
`confusion` (K, K) counts recordings by label (row) and prediction (column).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUM_BINS = 15


def softmax(logits: np.ndarray) -> np.ndarray:
    """Scores over the last axis, in double precision."""
    logits = np.asarray(logits, np.float64)
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def average_clips(logits: np.ndarray) -> np.ndarray:
    """Scores (N, K) of recordings from the logits (N, num_clips, K) of their clips."""
    return softmax(logits).mean(axis=1)


def fuse_scores(scores: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Weighted sum (N, K) of several streams' scores, not divided by the sum of the weights."""
    total = np.zeros(np.shape(scores[0]))
    for one, weight in zip(scores, weights, strict=True):
        total += weight * np.asarray(one, np.float64)
    return total


def label_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rank (N,) of the label among the scores, from 0; among equal scores the lower class is first.

    Raises:
        ValueError: a score is not finite, or a label is not a class.
    """
    scores, labels = _checked_arrays(scores, labels)
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > own) | ((scores == own) & before)).sum(axis=1)


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of recordings whose label is among the k highest scores."""
    return float((label_ranks(scores, labels) < k).mean())


def predictions(scores: np.ndarray) -> np.ndarray:
    """The class (N,) with the highest score; among equal scores, the lowest class."""
    return np.asarray(scores).argmax(axis=1)


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts (K, K) of recordings by label and prediction."""
    flat = np.asarray(labels, np.int64) * num_classes + np.asarray(predicted, np.int64)
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Accuracy (K,) of each class; NaN for classes without recordings."""
    counts = confusion.sum(axis=-1)
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.where(counts > 0, right / np.maximum(counts, 1), np.nan)


def mean_class_accuracy(confusion: np.ndarray, count_predicted: bool = False) -> float:
    """Mean accuracy over the classes that occur as labels.

    Args:
        confusion: (K, K)
        count_predicted: count classes that are only predicted, with accuracy 0, as PYSKL does.
    """
    occurs = confusion.sum(axis=1) > 0
    if count_predicted:
        occurs |= confusion.sum(axis=0) > 0
    return float(np.nan_to_num(class_accuracy(confusion))[occurs].mean())


def macro_f1(confusion: np.ndarray) -> float:
    """Mean over the classes labelled or predicted of 2 TP / (labelled + predicted)."""
    counts = confusion.sum(axis=1) + confusion.sum(axis=0)
    return float((2 * np.diagonal(confusion) / np.maximum(counts, 1))[counts > 0].mean())


def log_losses(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative log-likelihood (N,) of each label; scores are clipped to at least 1e-12."""
    scores, labels = _checked_arrays(scores, labels)
    own = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    return -np.log(np.maximum(own, 1e-12))


def split_metrics(split: str, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """`<split>/loss` (mean negative log-likelihood), `<split>/top1`, `<split>/top5` in percent."""
    return {
        f"{split}/loss": float(log_losses(scores, labels).mean()),
        f"{split}/top1": 100 * top_k_accuracy(scores, labels, 1),
        f"{split}/top5": 100 * top_k_accuracy(scores, labels, 5),
    }


@dataclass(frozen=True)
class Calibration:
    """Confidence and accuracy in B equal bins of confidence; (B,) each, NaN in empty bins."""

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error, `|confidence - accuracy|` averaged over recordings."""
        gap = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return float((self.counts * gap).sum() / self.counts.sum())


def calibration(scores: np.ndarray, labels: np.ndarray, num_bins: int = NUM_BINS) -> Calibration:
    """Calibration of the recordings' highest scores."""
    confidence, right, bins = confidence_bins(scores, labels, num_bins)
    counts = np.bincount(bins, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(bins, confidence, num_bins) / counts
        accuracy = np.bincount(bins, right, num_bins) / counts
    return Calibration(counts, mean_confidence, accuracy)


def confidence_bins(
    scores: np.ndarray, labels: np.ndarray, num_bins: int = NUM_BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, correctness and bin of each recording, (N,) each; bins include the upper edge."""
    scores, labels = _checked_arrays(scores, labels)
    confidence = scores.max(axis=1)
    bins = np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    return confidence, predictions(scores) == labels, bins


@dataclass(frozen=True)
class Confusion:
    """`count` of the `total` recordings of class `label` were predicted as class `predicted`."""

    label: int
    predicted: int
    count: int
    total: int


def most_confused(confusion: np.ndarray, limit: int = 10) -> list[Confusion]:
    """The most frequent confusions of two classes, most frequent first."""
    wrong = confusion * (1 - np.eye(len(confusion), dtype=confusion.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    totals = confusion.sum(axis=1)
    pairs = [divmod(int(flat), len(confusion)) for flat in order]
    return [
        Confusion(label, predicted, int(wrong[label, predicted]), int(totals[label]))
        for label, predicted in pairs
        if wrong[label, predicted] > 0
    ]


def group_counts(right: np.ndarray, groups: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Numbers of correct and of all recordings of each group, in order of first appearance.

    Args:
        right: (N,) whether each recording was classified correctly.
        groups: (N,) the group of each recording, such as a body part or a subject.
    """
    counts: dict[str, tuple[int, int]] = {}
    for group, hit in zip(groups, right, strict=True):
        hits, total = counts.get(group, (0, 0))
        counts[group] = (hits + int(hit), total + 1)
    return counts


def _checked_arrays(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores), np.asarray(labels, np.int64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise ValueError(f"scores must be (N, K), labels (N,); got {scores.shape}, {labels.shape}.")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(
            f"labels must be in 0..{scores.shape[1] - 1}; got {labels.min()}..{labels.max()}."
        )
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite; got NaN or infinity.")
    return scores, labels
