"""The operators of a training step by time, from MindSpore's profiler, and its ideal time."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from mindspore.profiler import ProfilerActivity, tensorboard_trace_handler

from flag3d_exp.benchmark.figures import SIDE

STEPS = 5
PRODUCTS = 5
FORWARD_AND_BACKWARD = 3  # a backward pass has two products for each of the forward pass


def operator_times(train: Callable[[], Any], multiply_adds: int | None) -> dict[str, Any]:
    """Kinds of operators by time, with calls and milliseconds per step; and the ideal time.

    An operator's time is its median over several steps.

    Args:
        multiply_adds: of a forward pass over the batch; None if unknown.
    """
    peak = peak_rate()
    products = None if multiply_adds is None else 2 * FORWARD_AND_BACKWARD * multiply_adds
    with tempfile.TemporaryDirectory() as folder:
        with ms.profiler.profile(
            activities=[ProfilerActivity.CPU], on_trace_ready=tensorboard_trace_handler(folder)
        ):
            for _ in range(STEPS):
                train()
        path = next(Path(folder).rglob("cpu_op_execute_timestamp_*.txt"))
        found = by_kind(path.read_text(encoding="utf-8"))
    return {
        "operators": found,
        "total_ms": sum(milliseconds for *_, milliseconds in found),
        "peak_gflops": peak / 1e9,
        "ideal_ms": None if products is None else 1e3 * products / peak,
    }


def by_kind(text: str) -> list[tuple[str, int, float]]:
    """The profiler's list of executions as (kind, operators, milliseconds), longest first.

    A line is `scope/Kind-op3;side;start,milliseconds,thread start,milliseconds,thread ...`.
    """
    counts: dict[str, int] = defaultdict(int)
    totals: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        name, _, executions = line.split(";", 2)
        kind = name.rpartition("/")[2].rpartition("-op")[0]
        counts[kind] += 1
        totals[kind] += float(np.median([float(e.split(",")[1]) for e in executions.split()]))
    return sorted(((k, counts[k], totals[k]) for k in totals), key=lambda row: -row[2])


def peak_rate() -> float:
    """Floating-point operations per second of the fastest of some large matrix products."""
    return max(product_rate() for _ in range(PRODUCTS))


def product_rate() -> float:
    """Floating-point operations per second of a large matrix product."""
    matrix = Tensor(np.ones((SIDE, SIDE), np.float32))
    ops.matmul(matrix, matrix).asnumpy()
    begin = time.perf_counter()
    ops.matmul(matrix, matrix).asnumpy()
    return 2 * SIDE**3 / (time.perf_counter() - begin)
