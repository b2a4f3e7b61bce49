"""`debug=profile`: measure the time of an update, and the time of each layer."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import mindspore as ms
from mindspore import Tensor, nn

from flag3d_exp import bounds
from flag3d_exp.debug.updates import Update
from flag3d_exp.engine.step import TrainStep

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Profile:
    """Time some updates, then the layers of as many forward passes.

    Args:
        steps: number of updates to time, after a first update that compiles.
        rows: number of layers to list.
    """

    steps: Annotated[int, ">= 1"] = 5
    rows: Annotated[int, ">= 1"] = 20

    def __post_init__(self) -> None:
        bounds.check(self, "task.debug")

    def __call__(self, step: TrainStep, updates: Iterator[Update]) -> None:
        """Measure, and log the results."""
        update = next(updates)
        log.info("first update, compiling included: %.2f s", seconds_of_step(step, update))
        loading, stepping = [], []
        for _ in range(self.steps):
            started = time.perf_counter()
            update = next(updates, update)
            loading.append(time.perf_counter() - started)
            stepping.append(seconds_of_step(step, update))
        log.info(
            "median of %d updates: waiting for the batch %.1f ms, update %.1f ms, %.0f clips/s",
            self.steps,
            1000 * median(loading),
            1000 * median(stepping),
            len(update.names) / (median(loading) + median(stepping)),
        )
        ms.runtime.launch_blocking()  # else only the launch of a layer's kernels is timed
        seconds = layer_seconds(
            step.model, Tensor(update.batches[0].inputs["keypoints"]), self.steps
        )
        total = sum(seconds.values())
        log.info(
            "An uncompiled forward pass takes %.1f ms; by layer, without inner layers:",
            1000 * total,
        )
        for name, own in sorted(seconds.items(), key=lambda item: -item[1])[: self.rows]:
            log.info("%8.2f ms %5.1f %%  %s", 1000 * own, 100 * own / total, name)


def seconds_of_step(step: TrainStep, update: Update) -> float:
    """The time of one update until its loss is available."""
    started = time.perf_counter()
    loss, _ = step(update.batches, update.factor)
    loss.asnumpy()
    return time.perf_counter() - started


def layer_seconds(model: nn.Cell, clips: Tensor, num_passes: int) -> dict[str, float]:
    """Mean seconds of each layer in a forward pass, without the layers inside it.

    Args:
        clips: (N, M, T, V, C).
        num_passes: number of passes to average, after one warm-up pass.
    """
    seconds: dict[str, float] = defaultdict(float)
    open_cells: list[
        list[float]
    ] = []  # for each running layer: start time, seconds of its inner layers

    def begin(cell: nn.Cell, inputs: tuple) -> None:
        open_cells.append([time.perf_counter(), 0.0])

    def end(cell: nn.Cell, inputs: tuple, output: Tensor) -> None:
        began, inner = open_cells.pop()
        took = time.perf_counter() - began
        seconds[names[id(cell)]] += (took - inner) / num_passes
        if open_cells:
            open_cells[-1][1] += took

    model.set_train(True)
    model(clips)
    names, handles = {}, []
    for name, cell in model.cells_and_names():
        names[id(cell)] = f"{name or 'model'} ({type(cell).__name__})"
        handles += [cell.register_forward_pre_hook(begin), cell.register_forward_hook(end)]
    for _ in range(num_passes):
        model(clips)
    for handle in handles:
        handle.remove()
    return dict(seconds)
