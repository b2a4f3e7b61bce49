"""The updates of a training run, for a debugging run that replaces the training loop."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from flag3d_exp.engine.schedule import Schedule
from flag3d_exp.engine.step import MicroBatch, TrainStep
from flag3d_exp.engine.train import Plan, Progress, StepBatch, rate_factor


@dataclass(frozen=True)
class Update:
    """One update of a training run.

    Args:
        number: of the update, counted from 1 over the run.
        batches: the input of the update.
        factor: factor of the optimizer's learning rates.
        names: of the recordings, in the order of the batches.
    """

    number: int
    batches: list[MicroBatch]
    factor: float
    names: list[str]


class Debug(Protocol):
    """A choice of `debug=...`, which replaces training and evaluation."""

    def __call__(self, step: TrainStep, updates: Iterator[Update]) -> None:
        """Make as many updates as needed, and log the result."""


def updates(
    load: Callable[[int, int], Iterable[StepBatch]],
    names: Sequence[str],
    schedule: Schedule,
    plan: Plan,
    progress: Progress,
) -> Iterator[Update]:
    """The updates from `progress` to the end of the plan, as the training loop makes them.

    Args:
        load: (epoch, number of updates to skip) -> the batches of the epoch's other updates.
        names: of the train split's recordings.
    """
    done = progress.step
    for epoch in range(progress.epoch, plan.num_epochs):
        for step, batch in enumerate(load(epoch, done), done):
            yield Update(
                number=epoch * plan.steps_per_epoch + step + 1,
                batches=batch.micro_batches,
                factor=rate_factor(schedule, plan, epoch, step),
                names=[names[int(index)] for index in batch.indices],
            )
        done = 0
