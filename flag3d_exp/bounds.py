"""The range of a setting, written once in its annotation: `Annotated[float, ">= 0, < 1"]`.

A range is a list of conditions, separated by commas:

    >= 0, > 0, <= 1, < 1    a number; >= 1 / other: times the setting `other` at least 1
    odd                     a whole number
    not empty               a list
    as long as other        a list, compared with the setting `other`

The settings of a configuration are checked against their ranges before the run starts (see
`signature`). An object that is made in Python checks its own settings with `check`.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import isfinite
from typing import Annotated, Any, get_args, get_origin

from flag3d_exp.errors import UserError

COMPARISONS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
WORDS = {">=": "at least", ">": "above", "<=": "at most", "<": "below"}
NOTHING: Mapping[str, Any] = {}


def within(bounds: str, value: Any, others: Mapping[str, Any] = NOTHING) -> bool:
    """Whether a value is in a range such as `>= 0, < 1`; NaN and infinity are in no range.

    Args:
        others: the settings that the range may name; a condition on an absent setting is met.
    """
    if isinstance(value, float) and not isfinite(value):
        return False
    return all(_holds(condition, value, others) for condition in _conditions(bounds))


def in_words(bounds: str) -> str:
    """The range for an error line: at least 1; from 0 to 1; above 0 and below 1."""
    conditions = _conditions(bounds)
    if [words[0] for words in conditions] == [">=", "<="]:
        return f"from {conditions[0][1]} to {conditions[1][1]}"
    return " and ".join(map(_in_words, conditions))


def check(settings: Any, group: str) -> None:
    """Check the fields of a dataclass against the ranges in their annotations.

    Raises:
        UserError: a value is out of range; the message names `group.field`, value and range.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        bounds = _violated_range(field.type, value, vars(settings))
        if bounds is not None:
            name = f"{group}.{field.name}"
            raise UserError(f"`{name}` must be {in_words(bounds)}; got {value}.")


def check_rising(
    name: str, pair: Sequence[float], low: float | None = None, high: float | None = None
) -> None:
    """Check a setting [least, largest]: above `low`, at most `high`; both may be equal.

    Raises:
        UserError: it is not; the message names the setting, its value and the limits.
    """
    if (
        len(pair) == 2
        and pair[0] <= pair[1]
        and (low is None or low < pair[0])
        and (high is None or pair[1] <= high)
    ):
        return
    limits = [] if low is None else [f"above {low:g}"]
    limits += [] if high is None else [f"at most {high:g}"]
    wanted = " ".join(["two rising numbers", " and ".join(limits)]).strip()
    raise UserError(f"`{name}` must be {wanted}; got {list(pair)}.")


def _conditions(bounds: str) -> list[list[str]]:
    """The conditions of a range, each split into words."""
    return [condition.split() for condition in bounds.split(",")]


def _holds(condition: list[str], value: Any, others: Mapping[str, Any]) -> bool:
    match condition:
        case ["odd"]:
            return value % 2 == 1
        case ["not", "empty"]:
            return len(value) > 0
        case ["as", "long", "as", other]:
            expected = others.get(other)
            return not isinstance(expected, list | tuple) or len(value) == len(expected)
        case [comparison, limit, "/", other]:
            factor = others.get(other)
            known = isinstance(factor, int | float)
            return not known or COMPARISONS[comparison](value * factor, float(limit))
        case [comparison, limit]:
            return COMPARISONS[comparison](value, float(limit))
    raise ValueError(f"no range knows the condition {' '.join(condition)!r}")


def _in_words(condition: list[str]) -> str:
    match condition:
        case ["not", "empty"]:
            return "a list that is not empty"
        case ["as", "long", "as", other]:
            return f"as long as `{other}`"
        case [comparison, limit, "/", other]:
            return f"{WORDS[comparison]} {limit} / `{other}`"
        case [comparison, limit]:
            return f"{WORDS[comparison]} {limit}"
    return " ".join(condition)


def _violated_range(annotation: Any, value: Any, others: Mapping[str, Any]) -> str | None:
    """The range that a value or one of its elements violates; None if every range holds.

    The annotation may be a union, in which each type has its own range.
    """
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        inner = _violated_range(parts[0], value, others)
        types = list | tuple if get_origin(parts[0]) in (list, tuple) else int | float
        bounded = isinstance(value, types) and not isinstance(value, bool)
        return inner or (parts[1] if bounded and not within(parts[1], value, others) else None)
    if kind in (list, tuple):
        elements = value if isinstance(value, list | tuple) else ()
        found = (_violated_range(parts[0], element, others) for element in elements)
    else:
        found = (_violated_range(part, value, others) for part in parts)
    return next((bounds for bounds in found if bounds is not None), None)
