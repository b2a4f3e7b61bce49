"""Compare groups of cross-validation runs on the same folds."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from flag3d_exp.results.comparison import holm
from flag3d_exp.results.intervals import Estimate
from flag3d_exp.results.seeds import ALL_PAIRS, Difference

PAIRED_HEADER = ("difference in points [95 % interval]", "paired p", "Holm p")
OVER_FOLDS = (
    "Means and differences are over folds; a fold with several seeds counts with their mean. "
    "Differences are of the same folds, with the paired t-test; Holm p corrects for all pairs. "
    "Folds share most of their training recordings, so intervals are somewhat too narrow."
)


def paired_differences(groups: Mapping[str, Mapping[str, float]]) -> list[Difference]:
    """Differences of pairs of groups with several common folds; the higher mean comes first.

    No unbiased estimate of the variance over folds exists (Bengio and Grandvalet, JMLR 2004).
    Student's interval assumes independent folds, so it is too narrow.

    Args:
        groups: percentages by fold, by the group's name.
    """
    ranked = sorted(groups, key=lambda name: -statistics.fmean(groups[name].values()))
    pairs = list(combinations(ranked, 2))
    if len(ranked) > ALL_PAIRS:
        pairs = [pair for pair in pairs if pair[0] == ranked[0]]
    found = [_paired_test(one, other, groups[one], groups[other]) for one, other in pairs]
    told = [difference for difference in found if difference is not None]
    adjusted = holm([difference.p_value for difference in told])
    return [replace(one, adjusted_p=p) for one, p in zip(told, adjusted, strict=True)]


def _paired_test(
    first: str, second: str, ones: Mapping[str, float], others: Mapping[str, float]
) -> Difference | None:
    """The paired t-test; None with fewer than two folds in common."""
    from scipy.stats import t as student  # slow import, most of a second

    steps = [ones[fold] - others[fold] for fold in ones if fold in others]
    if len(steps) < 2:
        return None
    value = statistics.fmean(steps)
    error = statistics.stdev(steps) / math.sqrt(len(steps))
    if error == 0:  # all folds have the same difference
        p_value = float(value == 0)
        return Difference(first, second, Estimate(value, value, value), p_value, p_value)
    degrees = len(steps) - 1
    half = float(student.ppf(0.975, degrees)) * error
    p_value = 2 * float(student.sf(abs(value) / error, degrees))
    points = Estimate(value, max(-100.0, value - half), min(100.0, value + half))
    return Difference(first, second, points, p_value, p_value)
