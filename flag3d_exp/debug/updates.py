"""What a debugging run is given instead of the training loop: the updates it would make."""

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
        batches: what it is made from.
        factor: what the optimizer's learning rates are multiplied with.
        names: of the recordings, batch after batch.
    """

    number: int
    batches: list[MicroBatch]
    factor: float
    names: list[str]


class Debug(Protocol):
    """What `debug=...` puts in place of training and evaluating."""

    def __call__(self, step: TrainStep, updates: Iterator[Update]) -> None:
        """Make as many of the updates as it takes, and say what was found."""


def updates(
    load: Callable[[int, int], Iterable[StepBatch]],
    names: Sequence[str],
    schedule: Schedule,
    plan: Plan,
    progress: Progress,
) -> Iterator[Update]:
    """The updates from `progress` to the end of the plan, as the training loop makes them.

    Args:
        load: (epoch, updates to leave out) -> the batches of the epoch's other updates.
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
