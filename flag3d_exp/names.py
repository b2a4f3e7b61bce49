"""Rules for the names of recordings, classes, joints and subjects.

A name is any text. The code that shows names on a page, in a figure or in a table makes sure that
they are not read as markup, formulas or commands.
"""

import reprlib
from collections.abc import Iterable
from typing import Any

from flag3d_exp.errors import UserError

MAX_NAME = 500


def name_fault(name: Any) -> str | None:
    """The reason why a value can't be a name, as the end of a sentence; None if it can."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        return f"must be a text of 1 to {MAX_NAME} letters; got {reprlib.repr(name)}"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return (
            f"must be text that UTF-8 can hold, without lone surrogates; got {reprlib.repr(name)}"
        )
    return None


def check_names(names: Iterable[Any], what: str) -> None:
    """Refuse values that cannot be names.

    Args:
        what: the beginning of the message, such as "`dataset.classes`: a class's name".

    Raises:
        UserError: a value can't be a name; the message shows the first such value.
    """
    for name in names:
        if fault := name_fault(name):
            raise UserError(f"{what} {fault}.")


def check_class_names(names: Iterable[Any], where: str) -> None:
    """Refuse class names that cannot be shown or that are not unique.

    Raises:
        UserError: `where` and the first such name.
    """
    known = list(names)
    check_names(known, f"{where}: the name of a class")
    seen: set[str] = set()
    for label, name in enumerate(known):
        if name in seen:
            first = known.index(name)
            raise UserError(f"{where}: classes {first} and {label} have one name, {name!r}.")
        seen.add(name)
