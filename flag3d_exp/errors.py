"""The error for a user's mistake, and the functions that make its message safe to print."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from flag3d_exp.credentials import masked_text

# What the user said, before `main` says it to Hydra; for the processes that a run starts, too.
WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


MAX_WORD, MAX_LINE, MAX_NAME = 400, 2000, 200  # characters of a message, and of a name compared
# Characters that a terminal obeys instead of showing: control characters, lone surrogates, line
# separators, and marks that reverse the direction of text. Tabs are harmless.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


class UserError(Exception):
    """A user's mistake; the message is the one line they see: key, value, what is accepted.

    It may contain names from files, so it is made safe to print (`printable`).
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    r"""The text as one line of bounded length that a terminal shows as it is.

    Control characters and terminal escapes are written as in a Python literal (`\x1b`). The middle
    of long words and of a long line is left out.
    """
    text = masked_text(text)  # first: a password of which the middle is left out is not recognised
    words = re.sub(rf"\S{{{MAX_WORD + 1},}}", lambda word: _middle_out(word[0], 200, 60), text)
    line = _middle_out(words, MAX_LINE - 600, 500) if len(words) > MAX_LINE else words
    return visible(line)


def visible(text: str) -> str:
    r"""The whole text, made safe to show on a terminal, on a page or in a log.

    Control characters are written as in a Python literal (`\x1b`, `\n`), and the credentials of
    URIs as `***`.
    """
    return UNPRINTABLE.sub(lambda found: _escaped_text(found[0]), masked_text(text))


def printable_lines(text: str) -> str:
    """Each line of the text as `printable` makes it."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _middle_out(text: str, first: int, last: int) -> str:
    return f"{text[:first]}...({len(text) - first - last} more)...{text[-last:]}"


def _escaped_text(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


@contextmanager
def blamed_on(key: str) -> Iterator[None]:
    """Put `key` in front of the user errors of a block or a function.

    An error that already names a key of the same group stays as it is.
    """
    try:
        yield
    except UserError as error:
        if f"`{key.partition('.')[0]}." in str(error):
            raise
        raise UserError(f"`{key}`: {error}") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """A question with the most similar of the `known` names; empty if none is similar."""
    if len(name) > MAX_NAME:  # comparing takes time quadratic in the length
        return ""
    short = [other for other in known if len(other) <= MAX_NAME]
    close = get_close_matches(name, short, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(f'`{match}`' for match in close)}?" if close else ""
