"""The range of a setting, written once, in its annotation: `Annotated[float, ">= 0, < 1"]`.

A configuration is held against it before the run starts (see `signature`); an object that is made
in Python checks itself with `check`.
"""

import operator
from dataclasses import fields
from math import isfinite
from typing import Annotated, Any, get_args, get_origin

from flag3d_exp.errors import UserError

COMPARISONS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
WORDS = {">=": "at least", ">": "above", "<=": "at most", "<": "below"}


def within(bounds: str, value: float) -> bool:
    """Whether a number is in a range such as `>= 0, < 1`; no range holds NaN or infinity."""
    return isfinite(value) and all(
        COMPARISONS[comparison](value, limit) for comparison, limit in _limits(bounds)
    )


def in_words(bounds: str) -> str:
    """The range for an error line: at least 1; from 0 to 1; above 0 and below 1."""
    limits = _limits(bounds)
    if [comparison for comparison, _ in limits] == [">=", "<="]:
        return f"from {limits[0][1]:g} to {limits[1][1]:g}"
    return " and ".join(f"{WORDS[comparison]} {limit:g}" for comparison, limit in limits)


def check(settings: Any, group: str) -> None:
    """Hold the fields of a dataclass against the ranges in their annotations.

    Raises:
        UserError: naming the field as `group.field`, its value and the range.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        bounds = _violated(field.type, value)
        if bounds is not None:
            name = f"{group}.{field.name}"
            raise UserError(f"`{name}` must be {in_words(bounds)}; got {value}.")


def _limits(bounds: str) -> list[tuple[str, float]]:
    pairs = [part.split() for part in bounds.split(",")]
    return [(comparison, float(limit)) for comparison, limit in pairs]


def _violated(annotation: Any, value: Any) -> str | None:
    """The range that the value, of whichever type of a union, is outside of."""
    if get_origin(annotation) is Annotated:
        bounds = annotation.__metadata__[0]
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        return bounds if numeric and not within(bounds, value) else None
    found = (_violated(part, value) for part in get_args(annotation))
    return next((bounds for bounds in found if bounds is not None), None)
