"""What a user is told when something they gave cannot be used."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

# What the user said, before `main` says it to Hydra; for the processes that a run starts, too.
WANTS_TRACEBACK = os.environ.get("HYDRA_FULL_ERROR") == "1"


class UserError(Exception):
    """A user's mistake; the message is the one line they see: key, value, what is accepted."""


@contextmanager
def blamed_on(key: str) -> Iterator[None]:
    """A block, or a function, whose refusals are of what `key` was given.

    They get its name in front, unless they name a key of its group themselves.
    """
    try:
        yield
    except UserError as error:
        if f"`{key.partition('.')[0]}." in str(error):
            raise
        raise UserError(f"`{key}`: {error}") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """A question naming the likeliest of the `known` names, or nothing if none is near."""
    close = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(f'`{match}`' for match in close)}?" if close else ""
