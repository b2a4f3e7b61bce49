"""Telling that memory ran out from the texts in which MindSpore and its libraries say so."""

import re

SHORTAGE = re.compile(
    r"memory\W.{0,40}(not enough|isn't enough|fail)|mem(ory)? failed|out of memory|bad_alloc"
    r"|alloc\w* .{0,60}failed|cannot allocate memory",
    re.IGNORECASE,
)


def is_shortage(error: BaseException) -> bool:
    """Whether the error, or one that it was raised from, says that memory ran out."""
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, MemoryError):
            return True
        if isinstance(one, RuntimeError) and SHORTAGE.search(str(one)):
            return True
        one = one.__cause__ or one.__context__
    return False
