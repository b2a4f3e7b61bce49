"""Waiting for a result without taking the processor from what computes it.

MindSpore waits for a compiled function in a loop that never sleeps, for two thirds of a step. Where
the kernels run on the same processors this costs them up to half their speed, so there the loop is
left to a thread of low priority.
"""

import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import mindspore as ms
import numpy as np
from mindspore import Tensor

NICENESS = 10  # a tenth of a core where the kernels want it; 19 wakes late on a busy machine


def fetched(tensor: Tensor) -> np.ndarray:
    """The tensor's values, as soon as they are computed."""
    if ms.get_context("device_target") != "CPU":
        return tensor.asnumpy()
    return _thread().submit(tensor.asnumpy).result()


def wait_for(tensor: Tensor) -> None:
    """Return when `tensor` is computed; on accelerators at once, the host goes on meanwhile."""
    if ms.get_context("device_target") == "CPU":
        fetched(tensor)


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "waiting", _lower_priority)


def _lower_priority() -> None:
    """Only Linux has priorities by thread; elsewhere the process would be meant."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
