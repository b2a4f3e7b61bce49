"""The process that works on a trial, and whether it is alive."""

import os
import socket
from typing import TypedDict

import psutil


class Owner(TypedDict):
    """A process on any host; `started` (seconds since the epoch) guards against PID reuse."""

    host: str
    pid: int
    started: float


def this_process() -> Owner:
    """The calling process."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": psutil.Process(pid).create_time()}


def is_alive(owner: Owner) -> bool | None:
    """Whether the process is alive; None if it is on another host, or suspended."""
    if owner["host"] != socket.gethostname():
        return None
    process = process_of(owner)
    try:
        status = process.status() if process else psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return None if status == psutil.STATUS_STOPPED else status != psutil.STATUS_ZOMBIE


def process_of(owner: Owner) -> psutil.Process | None:
    """The process, if it is on this host and has not ended."""
    if owner["host"] != socket.gethostname():
        return None
    try:
        process = psutil.Process(owner["pid"])
        same = abs(process.create_time() - owner["started"]) < 1
    except psutil.NoSuchProcess:
        return None
    return process if same else None
