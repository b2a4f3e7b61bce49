"""Nested settings as plain values: what is at a key, and what references stand for.

`${dataset.layout}` is a reference to one other value. Anything else in `${...}` asks a resolver,
which may read the environment or files; it stays text.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

REFERENCE = re.compile(r"\$\{([a-zA-Z_]\w*(?:\.\w+)*)\}")
MAX_CHAIN = 10  # references from one to the next


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all that is no mapping and no list; `path` is the key of the whole."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            yield from leaves(f"{path}.{key}" if path else str(key), one)
    else:
        yield path, value


def selected(values: Any, path: str) -> Any:
    """The value at a dotted key, references not followed; None if there is none."""
    for part in path.split("."):
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values


def referred(value: Any, values: Mapping[str, Any]) -> Any:
    """The value itself or, if it is a reference, what it stands for in `values`.

    A reference that leads nowhere, in a circle, or to a group of values stays text: groups that
    refer to groups may stand for more than a machine can hold.
    """
    current = value
    for _ in range(MAX_CHAIN):
        found = REFERENCE.fullmatch(current) if isinstance(current, str) else None
        if found is None:
            return value if isinstance(current, dict | list) else current
        current = selected(values, found[1])
        if current is None:
            return value
    return value


def referred_list(value: Any, values: Mapping[str, Any]) -> list[Any] | None:
    """The list of plain values that a reference such as `${dataset.classes}` stands for.

    None if it is no reference to a list, or if the list holds containers or references itself.
    """
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    target = selected(values, found[1]) if found else None
    if not isinstance(target, list):
        return None
    return (
        None if any(isinstance(one, dict | list) or "${" in str(one) for one in target) else target
    )


def within_text(value: Any, values: Mapping[str, Any]) -> Any:
    """The value; a text that holds more than one reference alone, with what they stand for."""
    if not isinstance(value, str) or REFERENCE.fullmatch(value):
        return value
    return REFERENCE.sub(lambda found: str(referred(found[0], values)), value)


def resolved(values: dict[str, Any]) -> dict[str, Any]:
    """The same values with what their references stand for."""

    def copied(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): copied(one) for key, one in value.items()}
        if isinstance(value, list):
            return [copied(one) for one in value]
        return referred(value, values)

    return copied(values)
