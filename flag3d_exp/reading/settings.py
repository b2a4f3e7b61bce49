"""Nested settings as plain values: look up keys and resolve references.

`${dataset.layout}` is a reference to another value. Other forms of `${...}` call a resolver, which
may read the environment or files, so they are kept as text.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

REFERENCE = re.compile(r"\$\{([a-zA-Z_]\w*(?:\.\w+)*)\}")
MAX_CHAIN = 10  # length of a chain of references


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all values in nested mappings and lists; `path` is the root's key."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            yield from leaves(f"{path}.{key}" if path else str(key), one)
    else:
        yield path, value


def selected_value(values: Any, path: str) -> Any:
    """The value at a dotted key, without resolving references; None if there is none."""
    for part in path.split("."):
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values


def referred_value(value: Any, values: Mapping[str, Any]) -> Any:
    """The value or, if it is a reference, the value in `values` that it refers to.

    A reference to an unknown key, in a cycle, or to a group of values stays text: nested references
    to groups could expand to more data than fits in memory.
    """
    current = value
    for _ in range(MAX_CHAIN):
        found = REFERENCE.fullmatch(current) if isinstance(current, str) else None
        if found is None:
            return value if isinstance(current, dict | list) else current
        current = selected_value(values, found[1])
        if current is None:
            return value
    return value


def referred_list(value: Any, values: Mapping[str, Any]) -> list[Any] | None:
    """The list of plain values that a reference such as `${dataset.classes}` refers to.

    None if it does not refer to a list, or if the list contains containers or references.
    """
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    target = selected_value(values, found[1]) if found else None
    if not isinstance(target, list):
        return None
    return (
        None if any(isinstance(one, dict | list) or "${" in str(one) for one in target) else target
    )


def within_text(value: Any, values: Mapping[str, Any]) -> Any:
    """The value; references inside a longer text are replaced by the values they refer to."""
    if not isinstance(value, str) or REFERENCE.fullmatch(value):
        return value
    return REFERENCE.sub(lambda found: str(referred_value(found[0], values)), value)


def resolved_values(values: dict[str, Any]) -> dict[str, Any]:
    """The same values with all references resolved."""

    def copied(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): copied(one) for key, one in value.items()}
        if isinstance(value, list):
            return [copied(one) for one in value]
        return referred_value(value, values)

    return copied(values)
