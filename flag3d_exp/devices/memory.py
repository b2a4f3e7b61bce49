"""Detection of memory shortage from the messages and crashes of MindSpore and its libraries."""

import ctypes
import os
import re
import signal
from typing import Any

from flag3d_exp.errors import printable

SHORTAGE = re.compile(
    r"memory\W.{0,40}(not enough|isn't enough|fail)|mem(ory)? failed|out of memory|bad_alloc"
    r"|alloc\w* .{0,60}failed|cannot allocate memory"
    r"|resource temporarily unavailable",  # no memory for a thread's stack
    re.IGNORECASE,
)


def is_shortage(error: BaseException) -> bool:
    """Whether the error, or an error that it was raised from, says that memory ran out."""
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, MemoryError):
            return True
        if isinstance(one, RuntimeError) and SHORTAGE.search(str(one)):
            return True
        one = one.__cause__ or one.__context__
    return False


CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)
_kept: list[Any] = []  # objects that C code calls must stay alive


def tell_of_crashes(folder: str) -> None:
    """Make a crash in MindSpore end the process with one line and exit code 1.

    If an allocation fails in one of its threads, MindSpore 2.10 may use a null pointer or abort.
    Python's signal handlers do not run then, because the thread does not return to Python.

    Args:
        folder: the run folder, for the line.
    """
    advice = (
        "a smaller `task.batch_size`, `dataset.clip_len` or `model.base_channels` takes less; "
        f"the log is {folder}/run.log."
    )
    lines = {
        number: printable(
            f"error: MindSpore crashed ({number.name}), as it does where memory runs out; {advice}"
        ).encode()
        + b"\n"
        for number in CRASHES
    }

    def end(number: int) -> None:
        os.write(2, lines[signal.Signals(number)])
        os._exit(1)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(end)
    _kept.append(handler)
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, type(handler))
    libc.signal.restype = ctypes.c_void_p
    for number in CRASHES:
        libc.signal(number, handler)
