"""Make dataclasses from JSON or YAML data and check each field against its annotation."""

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from flag3d_exp.reading import Malformed

T = TypeVar("T")
INTEGERS = range(-(2**63), 2**63)


def record(kind: type[T], value: Any) -> T:
    """A dataclass of type `kind` with the entries of a mapping as its fields.

    Raises:
        Malformed: the value is not a mapping, lacks a field or has an unknown one, or a field does
            not have the annotated type.
    """
    if not isinstance(value, dict):
        raise Malformed(f"it must be a mapping; got {type(value).__name__}")
    hints, required = _fields(kind)
    unknown = [key for key in value if key not in hints]
    missing = [name for name in required if name not in value]
    if unknown or missing:
        raise Malformed(f"it lacks `{missing[0]}`" if missing else f"unknown key `{unknown[0]}`")
    return kind(**{name: _checked_value(hints[name], one, name) for name, one in value.items()})


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """The annotation of each field, and the names of those without a default."""
    hints = get_type_hints(kind)
    known = {field.name: hints[field.name] for field in fields(kind) if field.init}
    no_default = (f for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)
    return known, [field.name for field in no_default if field.init]


def _checked_value(annotation: Any, value: Any, name: str) -> Any:
    if is_dataclass(annotation) and isinstance(annotation, type):
        return record(annotation, value)
    if not _fits(annotation, value):
        kind = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        raise Malformed(f"`{name}` must be {kind}; got {value!r}")
    return value


def _fits(annotation: Any, value: Any) -> bool:
    """Whether a plain value is of the type; `Any` accepts every value."""
    if annotation is Any:
        return True
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool) and value in INTEGERS
    if annotation in (bool, str, NoneType):
        return isinstance(value, annotation)
    members = get_args(annotation)
    if get_origin(annotation) is Literal:
        return any(type(value) is type(member) and value == member for member in members)
    if get_origin(annotation) in (Union, UnionType):
        return any(_fits(member, value) for member in members)
    if is_dataclass(annotation):
        raise TypeError(f"{annotation} in a list, mapping or union is not supported")
    if get_origin(annotation) is tuple:
        fits = isinstance(value, list) and len(value) == len(members)
        return fits and all(map(_fits, members, value))
    if get_origin(annotation) is list:
        return isinstance(value, list) and all(_fits(members[0], one) for one in value)
    if get_origin(annotation) is dict:
        return isinstance(value, dict) and all(
            _fits(members[0], key) and _fits(members[1], one) for key, one in value.items()
        )
    raise TypeError(f"no check for {annotation}")
