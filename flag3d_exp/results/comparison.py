"""Compare two or more runs on the same recordings, with significance tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from flag3d_exp.results import intervals
from flag3d_exp.results.intervals import Estimate
from flag3d_exp.results.predictions import Predictions


@dataclass(frozen=True)
class Comparison:
    """Two runs on one split.

    Attributes:
        difference: top-1 of the first minus top-1 of the second, paired.
        only_first, only_second: recordings that only one run classifies correctly.
        p_value: McNemar's exact test, two-sided.
        adjusted_p: the same after Holm's correction for all pairs.
        by_class: class to recordings that only the first and only the second run classify
            correctly.
    """

    first: str
    second: str
    difference: Estimate
    only_first: int
    only_second: int
    p_value: float
    adjusted_p: float
    by_class: dict[str, tuple[int, int]]


def compare(predictions: Mapping[str, Predictions], class_names: Sequence[str]) -> list[Comparison]:
    """The comparisons of all pairs of runs.

    Args:
        predictions: by the run's title; the same recordings in the same order, see
            `predictions.paired_predictions`.
    """
    pairs = [
        _pair(first, second, predictions, class_names)
        for first, second in combinations(predictions, 2)
    ]
    adjusted = holm([pair.p_value for pair in pairs])
    return [replace(pair, adjusted_p=p) for pair, p in zip(pairs, adjusted, strict=True)]


def wrong_by_all(predictions: Mapping[str, Predictions]) -> list[str]:
    """The recordings that every run classifies incorrectly, in their order."""
    runs = list(predictions.values())
    wrong = ~np.any([run.right for run in runs], axis=0)
    return [runs[0].names[row] for row in np.flatnonzero(wrong)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979), which control the family-wise error rate."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _pair(
    first: str,
    second: str,
    predictions: Mapping[str, Predictions],
    class_names: Sequence[str],
) -> Comparison:
    one, other = predictions[first], predictions[second]
    only_first, only_second = one.right & ~other.right, other.right & ~one.right
    by_class = {
        class_names[int(label)]: (
            int(only_first[one.labels == label].sum()),
            int(only_second[one.labels == label].sum()),
        )
        for label in np.unique(one.labels)
    }
    p_value = intervals.mcnemar(one.right, other.right)
    return Comparison(
        first,
        second,
        intervals.paired_difference(one.right, other.right),
        int(only_first.sum()),
        int(only_second.sum()),
        p_value,
        p_value,
        by_class,
    )
