"""95 % confidence intervals of metrics and of differences, and significance tests."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from flag3d_exp.results import metrics

Z = NormalDist().inv_cdf(0.975)
NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(right: int, total: int) -> Estimate:
    """A share and its Wilson score interval."""
    share = right / total
    centre = (share + Z**2 / (2 * total)) / (1 + Z**2 / total)
    half = Z / (1 + Z**2 / total) * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    # For shares of 0 and 1 the interval must end exactly there, despite rounding.
    return Estimate(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """`one` minus `other`, two independent shares, with Newcombe's interval (1998, method 10)."""
    value = one.value - other.value
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - below, value + above)


def paired_difference(right_one: np.ndarray, right_other: np.ndarray, seed: int = 0) -> Estimate:
    """Difference of two accuracies on the same recordings (N,), with its interval.

    The interval is the bootstrap's over recordings, widened if needed to contain the interval of
    McNemar's exact test (Clopper and Pearson's interval of the share of wins among recordings that
    exactly one model classifies correctly). So it excludes 0 exactly if the test gives p < 0.05.
    """
    right_one, right_other = np.asarray(right_one, bool), np.asarray(right_other, bool)
    total = len(right_one)
    wins = int((right_one & ~right_other).sum())
    losses = int((right_other & ~right_one).sum())
    # A resample of recordings is a draw of the numbers of wins, losses and ties.
    shares = np.array([wins, losses, total - wins - losses]) / total
    drawn = np.random.default_rng(seed).multinomial(total, shares, size=50_000)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / total, [0.025, 0.975])
    exact_low, exact_high = _exact_share(wins, wins + losses)
    scale = (wins + losses) / total
    return Estimate(
        (wins - losses) / total,
        min(float(low), scale * (2 * exact_low - 1)),
        max(float(high), scale * (2 * exact_high - 1)),
    )


def mean_difference(one: np.ndarray, other: np.ndarray, seed: int = 0) -> Estimate:
    """Mean of `one - other`, (N,) each over the same recordings, and its bootstrap interval.

    Args:
        one, other: for each recording, the share of a group's runs that classify it correctly.
    """
    values, counts = np.unique(np.asarray(one) - np.asarray(other), return_counts=True)
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=50_000)
    low, high = np.quantile(drawn @ values / total, [0.025, 0.975])
    return Estimate(float(counts @ values) / total, float(low), float(high))


def _exact_share(successes: int, total: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    from scipy.special import betaincinv  # slow import, not needed in training

    failures = total - successes
    low = float(betaincinv(successes, failures + 1, 0.025)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 0.975)) if failures else 1.0
    return low, high


def mcnemar(right_one: np.ndarray, right_other: np.ndarray) -> float:
    """Exact two-sided p-value of McNemar's test that two models have the same accuracy.

    Only recordings that exactly one model classifies correctly count. Under the null hypothesis,
    each model does so with probability 1/2.
    """
    right_one, right_other = np.asarray(right_one, bool), np.asarray(right_other, bool)
    only_one = int((right_one & ~right_other).sum())
    total = only_one + int((right_other & ~right_one).sum())
    fewer = min(only_one, total - only_one)
    term = tail = 1
    for index in range(1, fewer + 1):
        term = term * (total - index + 1) // index  # the next binomial coefficient, exactly
        tail += term
    return min(1.0, 2 * tail / 2**total)


def bootstrap(
    statistics: Mapping[str, Callable[[np.ndarray], np.ndarray]], num_recordings: int, seed: int = 0
) -> dict[str, Estimate]:
    """Statistics over recordings and their bias-corrected bootstrap intervals (Efron 1987).

    Args:
        statistics: functions by name, from the count of each recording (B, N) to the statistic
            (B,).
        num_recordings: N.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    share = np.full(num_recordings, 1 / num_recordings)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
    for _ in range(NUM_RESAMPLES // 100):  # in parts, since (1000, N) may not fit in memory
        counts = rng.multinomial(num_recordings, share, size=100).astype(np.float64)
        for name, statistic in statistics.items():
            drawn[name].append(statistic(counts))
    whole = np.ones((1, num_recordings))
    return {
        name: _bias_corrected(float(statistic(whole)[0]), np.concatenate(drawn[name]))
        for name, statistic in statistics.items()
    }


def _bias_corrected(value: float, drawn: np.ndarray) -> Estimate:
    normal = NormalDist()
    below = (np.sum(drawn < value) + np.sum(drawn == value) / 2) / len(drawn)
    bias = normal.inv_cdf(float(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn))))
    ends = [normal.cdf(2 * bias - Z), normal.cdf(2 * bias + Z)]
    low, high = np.quantile(drawn, ends)
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def summary(scores: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, Estimate]:
    """The metrics of a split (`scores` (N, K), `labels` (N,)), each with its interval.

    Wilson's interval for top-1 and top-5, the bootstrap over recordings for the others.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    num_recordings, num_classes = scores.shape
    ranks = metrics.label_ranks(scores, labels)
    predicted = metrics.predictions(scores)
    losses = metrics.log_losses(scores, labels)
    confidence, right, bins = metrics.confidence_bins(scores, labels)

    # One column per class or bin, so that a resample is a matrix product.
    labelled = np.eye(num_classes)[labels]  # (N, K)
    guessed = np.eye(num_classes)[predicted]  # (N, K)
    hit = labelled * right[:, None]
    excess = np.eye(metrics.NUM_BINS)[bins] * (confidence - right)[:, None]  # (N, B)

    def mean_class_accuracy(counts: np.ndarray) -> np.ndarray:
        totals = counts @ labelled
        present = totals > 0
        return ((counts @ hit) / np.maximum(totals, 1)).sum(axis=1) / present.sum(axis=1)

    def macro_f1(counts: np.ndarray) -> np.ndarray:
        totals = counts @ labelled + counts @ guessed
        present = totals > 0
        return (2 * (counts @ hit) / np.maximum(totals, 1)).sum(axis=1) / present.sum(axis=1)

    def calibration_error(counts: np.ndarray) -> np.ndarray:
        return np.abs(counts @ excess).sum(axis=1) / num_recordings

    estimates = {
        "top1": wilson(int((ranks < 1).sum()), num_recordings),
        "top5": wilson(int((ranks < 5).sum()), num_recordings),
    }
    statistics = {
        "mean_class_accuracy": mean_class_accuracy,
        "macro_f1": macro_f1,
        "nll": lambda counts: counts @ losses / num_recordings,
        "ece": calibration_error,
    }
    return estimates | bootstrap(statistics, num_recordings, seed)
