"""Which process works on a trial, and whether it still lives."""

import os
import socket
from typing import TypedDict

import psutil


class Owner(TypedDict):
    """A process of any host; `started` (seconds of the epoch) tells it from a later namesake."""

    host: str
    pid: int
    started: float


def this_process() -> Owner:
    """The calling process."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": psutil.Process(pid).create_time()}


def is_alive(owner: Owner) -> bool | None:
    """Whether the process lives; None for one of another host, which cannot be told from here."""
    if owner["host"] != socket.gethostname():
        return None
    try:
        process = psutil.Process(owner["pid"])
        same = abs(process.create_time() - owner["started"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
