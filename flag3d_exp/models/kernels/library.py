"""The compiled functions of onednn.cc, if they can be used here."""

import ctypes
import hashlib
import logging
import os
from functools import cache
from pathlib import Path

import mindspore as ms

log = logging.getLogger(__name__)
LIBRARY = Path(__file__).with_name("_onednn.so")
SOURCE = Path(__file__).with_name("onednn.cc")


@cache
def is_open() -> bool:
    """Whether the functions can be called in this process. If not, the reason is logged once."""
    reason = reason_against()
    if reason is not None:
        log.info("convolutions are slower here, without oneDNN's kernels: %s", reason)
    return reason is None


def reason_against() -> str | None:
    """Open oneDNN for the functions; None, or why that can't be done."""
    if not LIBRARY.exists():
        return "installing the package did not compile them (`pip install -v` shows why)"
    if ":" in str(LIBRARY):
        return f"MindSpore accepts no colon in the path {LIBRARY}"
    allowed = os.environ.get("MS_CUSTOM_AOT_WHITE_LIST")
    if allowed is not None and not LIBRARY.resolve().is_relative_to(Path(allowed).resolve()):
        return f"MS_CUSTOM_AOT_WHITE_LIST={allowed} does not allow {LIBRARY}"
    try:
        library = ctypes.CDLL(str(LIBRARY))
        library.flag3d_source.restype = ctypes.c_char_p
        if library.flag3d_source().decode() != hashlib.sha256(SOURCE.read_bytes()).hexdigest():
            return f"{LIBRARY} was made from another {SOURCE.name}; install the package again"
        onednn = Path(ms.__file__).with_name("lib") / "libdnnl.so.3"
        reason = ctypes.create_string_buffer(500)
        failed = library.flag3d_open(
            str(onednn).encode(), len(os.sched_getaffinity(0)), reason, len(reason)
        )
        return reason.value.decode() if failed else None
    except (AttributeError, OSError) as error:
        return str(error)
