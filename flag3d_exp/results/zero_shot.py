"""Metrics of zero-shot recognition of unseen classes, with baselines.

Sizes: n recordings, K classes, W numbers of a text vector.
"""

from collections.abc import Mapping

import numpy as np

from flag3d_exp.results.metrics import average_clips
from flag3d_exp.splits import UNSEEN

METRICS = ("top1_zero_shot", "top1_nearest_text", "top1_chance")
HARMONIC = "top1_harmonic"
GATES = np.arange(-100.0, 100.5, 0.5)  # that `fitted_gate` tries


def zero_shot_metrics(
    scores: np.ndarray, labels: np.ndarray, unseen: np.ndarray, vectors: np.ndarray
) -> dict[str, float]:
    """Top-1 in percent among only the unseen classes, for recordings of these classes.

    `top1_zero_shot` is the network's. `top1_nearest_text` is a baseline that needs no zero-shot
    training: predict a seen class, and replace it by the unseen class with the nearest text.
    `top1_chance` is the accuracy of random guesses.

    Args:
        scores: (n, K).
        labels: (n,), all among `unseen`.
        unseen: (U,) labels that were not trained on.
        vectors: (K, W) unit vectors of the classes' texts.
    """
    chosen, borrowed = zero_shot_labels(scores, unseen, vectors)
    return {
        "top1_zero_shot": 100 * float((chosen == labels).mean()),
        "top1_nearest_text": 100 * float((borrowed == labels).mean()),
        "top1_chance": 100 / len(unseen),
    }


def zero_shot_labels(
    scores: np.ndarray, unseen: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The unseen classes (n,) that the network and the nearest text choose, see above."""
    seen = np.setdiff1d(np.arange(scores.shape[1]), unseen)
    nearest = unseen[(vectors[seen] @ vectors[unseen].T).argmax(1)]  # of each seen class
    return unseen[scores[:, unseen].argmax(1)], nearest[scores[:, seen].argmax(1)]


def fitted_gate(
    seen: tuple[np.ndarray, np.ndarray], unseen: tuple[np.ndarray, np.ndarray], trained: np.ndarray
) -> tuple[float, float]:
    """What to add to the logits of untrained classes for the best harmonic mean, and this mean.

    Of several equally good values it is the median (calibrated stacking, Chao et al., ECCV 2016).

    Args:
        seen, unseen: logits (n, num_clips, K) and labels (n,) of recordings of trained and of other
            classes, without a gate.
        trained: (K,) bool.
    """

    def accuracy(logits: np.ndarray, labels: np.ndarray, gate: float) -> float:
        scores = average_clips(logits + gate * ~trained)
        return 100 * float((scores.argmax(1) == labels).mean())

    found = []
    for gate in GATES:
        one, other = accuracy(*seen, gate), accuracy(*unseen, gate)
        found.append(harmonic_mean(one, other))
    best = np.flatnonzero(np.array(found) == max(found))
    chosen = int(best[len(best) // 2])
    return float(GATES[chosen]), found[chosen]


def harmonic_mean(one: float, other: float) -> float:
    """Of two accuracies; 0 if both are."""
    return 2 * one * other / (one + other) if one + other else 0.0


def harmonic_means(metrics: Mapping[str, float]) -> dict[str, float]:
    """`<split>_unseen/top1_harmonic`: harmonic mean of top-1 on recordings of seen and of unseen
    classes, each among all classes.

    Args:
        metrics: of a run, by `<split>/<name>`.
    """
    found = {}
    for key, unseen in metrics.items():
        split, _, name = key.rpartition("/")
        seen = metrics.get(f"{split.removesuffix(UNSEEN)}/top1")
        if name == "top1" and split.endswith(UNSEEN) and seen is not None:
            found[f"{split}/{HARMONIC}"] = harmonic_mean(seen, unseen)
    return found
