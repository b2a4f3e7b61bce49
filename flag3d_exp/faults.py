"""Collected faults of the items of a file, reported in one line, grouped by reason."""

from collections.abc import Iterator
from contextlib import contextmanager

from flag3d_exp.errors import UserError

MAX_NAMES, MAX_REASONS = 5, 5  # of a line
MAX_KEPT = 1000  # reasons; later ones are only counted


class Faults:
    """The faults of items, grouped by reason.

    Args:
        what: the word for one item, such as "recording".
    """

    def __init__(self, what: str = "recording") -> None:
        self.what, self.count = what, 0
        self.names: dict[str, list[str]] = {}

    def add(self, name: str, reason: str) -> None:
        """Note a fault of an item as a sentence; `name` is empty if the reason contains it."""
        self.count += 1
        if reason in self.names or len(self.names) < MAX_KEPT:
            self.names.setdefault(reason, []).append(name)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Note a user error of the block for the item, and continue after the block."""
        try:
            yield
        except UserError as error:
            self.add(name, str(error))

    def refuse(self, where: str) -> None:
        """Raise the noted faults, if there are any.

        Args:
            where: the beginning of the message, such as the file.

        Raises:
            UserError: one line, with at most five reasons and five items of each.
        """
        if not self.count:
            return
        place = f"{where}: " if where else ""
        if self.count == 1:
            ((reason, (name,)),) = self.names.items()
            raise UserError(f"{place}{self.what} {name}: {reason}" if name else f"{place}{reason}")
        reasons = [
            (f"{_some(names)}: " if names[0] else "") + reason.removesuffix(".")
            for reason, names in list(self.names.items())[:MAX_REASONS]
        ]
        said = sum(len(names) for names in list(self.names.values())[:MAX_REASONS])
        more = f"; and {self.count - said} others" if said < self.count else ""
        raise UserError(
            f"{place}{self.count} {self.what}s can't be used: {'; '.join(reasons)}{more}."
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    return f"{shown} and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else shown
