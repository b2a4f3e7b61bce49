"""Mean and spread of runs that differ only in their seed, and tests of differences of groups."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from flag3d_exp.results.comparison import holm
from flag3d_exp.results.intervals import Estimate

DIFFERENCE_HEADER = ("difference in points [95 % interval]", "Welch p", "Holm p")
OVER_SEEDS = (
    "Differences are between means over seeds, with Welch's t-test; Holm p corrects for all pairs. "
    "They show the effect of chance in training on these recordings; `task=compare` also shows the "
    "effect of the choice of recordings."
)
OVER_BOTH = (
    "The first interval and Welch's t-test show the effect of chance in training on these "
    "recordings. The interval over recordings shows the effect of the choice of recordings on the "
    "means of these runs. A difference is significant in both respects if both intervals exclude "
    "0. Holm p corrects for all pairs."
)
ALL_PAIRS = 6  # up to this many groups, compare all pairs; beyond, compare each with the best


@dataclass(frozen=True)
class Difference:
    """Mean of one group of runs minus that of another.

    Attributes:
        points: the difference in percentage points, and Welch's 95 % interval.
        p_value: Welch's t-test of equal means, two-sided.
        adjusted_p: the same after Holm's correction for all pairs.
    """

    first: str
    second: str
    points: Estimate
    p_value: float
    adjusted_p: float


def mean(values: Sequence[float]) -> Estimate:
    """The mean of percentages and Student's 95 % interval, clipped to 0 and 100.

    It assumes a normal distribution over seeds.

    Args:
        values: at least two.
    """
    from scipy.stats import t as student  # slow import, most of a second

    middle = statistics.fmean(values)
    factor = float(student.ppf(0.975, len(values) - 1))
    half = factor * statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(middle, max(0.0, middle - half), min(100.0, middle + half))


def spread(values: Sequence[float]) -> str:
    """`mean ± standard deviation [95 % interval of the mean]`; less for too few values."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    one = mean(values)
    return f"{one.value:.2f} ± {statistics.stdev(values):.2f} [{one.low:.2f}, {one.high:.2f}]"


def differences(groups: Mapping[str, Sequence[float]]) -> list[Difference]:
    """Differences of pairs of groups with several runs each; the higher mean comes first.

    Args:
        groups: percentages of each group's runs, by the group's name.
    """
    several = {name: values for name, values in groups.items() if len(values) > 1}
    ranked = sorted(several, key=lambda name: -statistics.fmean(several[name]))
    pairs = list(combinations(ranked, 2))
    if len(ranked) > ALL_PAIRS:
        pairs = [pair for pair in pairs if pair[0] == ranked[0]]
    found = [_welch(first, second, several[first], several[second]) for first, second in pairs]
    adjusted = holm([one.p_value for one in found])
    return [replace(one, adjusted_p=p) for one, p in zip(found, adjusted, strict=True)]


def difference_cells(one: Difference) -> list[str]:
    """The cells of a table row with header `DIFFERENCE_HEADER`."""
    points = one.points
    return [
        f"{points.value:+.2f} [{points.low:+.2f}, {points.high:+.2f}]",
        p_text(one.p_value),
        p_text(one.adjusted_p),
    ]


def p_text(p: float) -> str:
    """A p-value, rounded for display."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _welch(first: str, second: str, ones: Sequence[float], others: Sequence[float]) -> Difference:
    """Welch's test (1947), for groups whose variances may differ."""
    from scipy.stats import t as student

    value = statistics.fmean(ones) - statistics.fmean(others)
    parts = [statistics.variance(group) / len(group) for group in (ones, others)]
    error = math.sqrt(sum(parts))
    if error == 0:  # all runs of each group are equal
        p_value = float(value == 0)
        return Difference(first, second, Estimate(value, value, value), p_value, p_value)
    weights = [
        part**2 / (len(group) - 1) for part, group in zip(parts, (ones, others), strict=True)
    ]
    degrees = sum(parts) ** 2 / sum(weights)
    half = float(student.ppf(0.975, degrees)) * error
    p_value = 2 * float(student.sf(abs(value) / error, degrees))
    points = Estimate(value, max(-100.0, value - half), min(100.0, value + half))
    return Difference(first, second, points, p_value, p_value)
