"""What may be a name: of a recording, a class, a joint or whoever moves.

Names are text, whatever letters they are of. Where they are shown, each kind of page, figure or
file takes care that it shows them as they are.
"""

import reprlib
from typing import Any

MAX_NAME = 500


def name_fault(name: Any) -> str | None:
    """What makes a value unfit as a name, as the end of a sentence; None if nothing does."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        return f"must be a text of 1 to {MAX_NAME} letters; got {reprlib.repr(name)}"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:  # which no page, no JSON file and no terminal could show
        return f"must be text that UTF-8 can hold; got {reprlib.repr(name)} with half a character"
    return None
