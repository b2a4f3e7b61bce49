"""A result is waited for at low priority, and is the result."""

import os
import sys
import threading
import time

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from flag3d_exp.engine.waiting import NICENESS, _thread, fetched


def test_values_are_fetched_unchanged():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(fetched(Tensor(values) * 2), values * 2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities by thread")
def test_only_the_waiting_thread_has_a_low_priority():
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = niceness()
    assert _thread().submit(niceness).result() == max(own, NICENESS)
    assert niceness() == own


def test_the_caller_uses_next_to_no_processor_time_while_it_waits():
    @ms.jit
    def long(x):
        for _ in range(40):
            x = ops.matmul(x, x)
        return x

    x = Tensor(np.eye(1024, dtype=np.float32))
    fetched(long(x))
    began, used = time.perf_counter(), time.thread_time()
    fetched(long(x))
    assert time.thread_time() - used < 0.2 * (time.perf_counter() - began)


def test_an_error_of_the_computation_reaches_the_caller():
    index = Tensor(np.array([7], np.int32))
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        fetched(ops.gather(Tensor(np.ones((2, 2), np.float32)), index, 0))
