"""The training loop: step, log, save, evaluate.

The loop uses a step, batches and hooks; it does not depend on datasets, models or tracking.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from mindspore import Tensor

from flag3d_exp.engine.interrupt import Interrupted, StopRequest
from flag3d_exp.engine.schedule import Schedule
from flag3d_exp.engine.step import Criterion, MicroBatch, TrainStep


@dataclass
class Totals:
    """Sums over the steps of an interval or an epoch."""

    loss: float = 0.0
    num_steps: int = 0
    num_clips: int = 0
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, loss: float, counts: Mapping[str, float], num_clips: int) -> None:
        """Add one step."""
        self.loss += loss
        self.num_steps += 1
        self.num_clips += num_clips
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0.0) + count

    def metrics(self, criterion: Criterion) -> dict[str, float]:
        """The mean `train/loss`, and the criterion's metrics from its counts."""
        if not self.num_steps:
            return {}
        found = criterion.metrics(self.counts, self.num_clips)
        return {"train/loss": self.loss / self.num_steps} | {
            f"train/{name}": value for name, value in found.items()
        }


@dataclass
class Progress:
    """The state of a run: with weights and optimizer, everything that the next step depends on.

    Args:
        epoch: number of finished epochs, including their evaluation.
        step: number of updates in the running epoch.
        best: best objective so far, None before the first evaluation.
        best_epoch: the epoch with the best objective, counted from 1.
        num_worse: number of evaluations since the best epoch.
        num_skipped: number of updates skipped because of a non-finite loss.
        interval: sums since the last report.
        running: sums of the running epoch.
        metrics: the latest value of each metric.
        best_metrics: all metrics of the best epoch.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    num_worse: int = 0
    num_skipped: int = 0
    interval: Totals = field(default_factory=Totals)
    running: Totals = field(default_factory=Totals)
    metrics: dict[str, float] = field(default_factory=dict)
    best_metrics: dict[str, float] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """The progress as JSON values."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Progress":
        """The progress with the given `state()`."""
        restored = dict(state)
        for name in ("interval", "running"):
            restored[name] = Totals(**state[name])
        return cls(**restored)


@dataclass(frozen=True)
class Plan:
    """The length of a training, and the intervals of its evaluations, reports and checkpoints.

    Args:
        num_epochs: total number of epochs.
        steps_per_epoch: updates per epoch.
        learning_rate: the optimizer's rate, as reported.
        eval_every: epochs between evaluations; the last epoch is always evaluated.
        log_every: updates between reports; None for one per epoch.
        save_every: updates between checkpoints, in addition to one after each epoch; None for none.
        save_minutes: minutes between checkpoints, in addition to the others; None for none.
        objective: metric of the best epoch; lower is better if its name ends in `loss`.
        early_stop: evaluations without improvement after which training ends; None for never.
    """

    num_epochs: int
    steps_per_epoch: int
    learning_rate: float
    eval_every: int = 1
    log_every: int | None = None
    save_every: int | None = None
    save_minutes: float | None = None
    objective: str = "val/top1"
    early_stop: int | None = None

    def better(self, value: float, best: float | None) -> bool:
        """Whether `value` of the objective beats `best`."""
        if best is None:
            return True
        return value < best if self.objective.endswith("loss") else value > best


@dataclass(frozen=True)
class StepBatch:
    """The input of one update: its batches, and the indices of their recordings."""

    micro_batches: list[MicroBatch]
    indices: np.ndarray


class Hooks(Protocol):
    """The callbacks of the loop."""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Log the metrics after `step` updates of the run."""

    def advance(self, progress: Progress) -> None:
        """Show the progress of the epoch."""

    def evaluate(self) -> dict[str, float]:
        """Evaluate; return the metrics of every evaluation split."""
        ...

    def save(self, progress: Progress, is_best: bool) -> None:
        """Save the state of the run."""

    def report(self, progress: Progress) -> None:
        """Report an evaluation that has been saved; may raise to end the run."""


class NonFiniteLoss(Exception):
    """The loss of update `step` (counted from 1 over the run) was not finite."""

    def __init__(self, loss: float, epoch: int, step: int, indices: np.ndarray):
        super().__init__(f"loss {loss} at update {step} (epoch {epoch + 1})")
        self.loss, self.epoch, self.step, self.indices = loss, epoch, step, indices


def train(
    step: TrainStep,
    batches: Callable[[int, int], Iterable[StepBatch]],
    schedule: Schedule,
    plan: Plan,
    progress: Progress,
    hooks: Hooks,
    stop: StopRequest,
) -> None:
    """Train from `progress` to the end of the plan; update `progress`.

    Args:
        batches: (epoch, number of updates to skip) -> the batches of the epoch's other updates.

    Raises:
        Interrupted: a signal asked to stop; the state was saved first.
        NonFiniteLoss: the loss was not finite and the step does not skip such updates.
    """
    start = progress.epoch, progress.step
    for epoch in range(progress.epoch, plan.num_epochs):
        window = Window(epoch, plan, step)
        saved = time.monotonic()
        for batch in batches(epoch, progress.step):
            factor = rate_factor(schedule, plan, epoch, progress.step)
            compiling = (epoch, progress.step) == start  # takes long; there is no state to lose
            with stop.at_once() if compiling else nullcontext():
                window.add(step(batch.micro_batches, factor), batch)
            progress.step += 1
            hooks.advance(progress)

            if due(plan.log_every, progress.step):
                report(window, progress, plan, hooks, factor)
            minutes = (time.monotonic() - saved) / 60
            overdue = plan.save_minutes is not None and minutes >= plan.save_minutes
            stopping = stop.is_requested()
            if stopping or overdue or due(plan.save_every, progress.step):
                window.settle(progress)
                hooks.save(progress, is_best=False)
                saved = time.monotonic()
            if stopping:
                stop.check()
        report(window, progress, plan, hooks, rate_factor(schedule, plan, epoch, progress.step))
        progress.metrics |= progress.running.metrics(step.criterion)

        is_best = False
        evaluated = due(plan.eval_every, epoch + 1) or epoch + 1 == plan.num_epochs
        if evaluated:
            try:
                metrics = hooks.evaluate()
            except Interrupted:
                hooks.save(progress, is_best=False)
                raise
            is_best = judge(metrics, epoch, progress, plan)
            hooks.log((epoch + 1) * plan.steps_per_epoch, metrics)
        progress.epoch, progress.step, progress.running = epoch + 1, 0, Totals()
        hooks.save(progress, is_best)
        if evaluated:
            hooks.report(progress)
        stop.check()
        if plan.early_stop is not None and progress.num_worse >= plan.early_stop:
            break


class Window:
    """Steps whose loss is still on the device; reading every loss would stall the device."""

    def __init__(self, epoch: int, plan: Plan, step: TrainStep):
        self.epoch, self.plan, self.criterion = epoch, plan, step.criterion
        self.skip_nonfinite = step.settings.skip_nonfinite
        self.steps: list[tuple[Tensor, tuple[Tensor, ...], StepBatch]] = []
        self.started, self.num_clips = time.monotonic(), 0

    def add(self, outcome: tuple[Tensor, tuple[Tensor, ...]], batch: StepBatch) -> None:
        """Add the loss and the counts of one step."""
        self.steps.append((*outcome, batch))

    def settle(self, progress: Progress) -> None:
        """Read the losses from the device and add the steps to `progress`.

        Raises:
            NonFiniteLoss: for the first non-finite loss, unless such updates are skipped.
        """
        first = self.epoch * self.plan.steps_per_epoch + progress.step - len(self.steps) + 1
        for number, (loss_tensor, counts, batch) in enumerate(self.steps, first):
            loss = float(loss_tensor.asnumpy())
            if not np.isfinite(loss):
                if not self.skip_nonfinite:
                    raise NonFiniteLoss(loss, self.epoch, number, batch.indices)
                progress.num_skipped += 1
                continue
            values = [float(count.asnumpy()) for count in counts]
            named = dict(zip(self.criterion.counts, values, strict=True))
            for totals in (progress.interval, progress.running):
                totals.add(loss, named, len(batch.indices))
        self.num_clips += sum(len(batch.indices) for *_, batch in self.steps)
        self.steps.clear()

    def clips_per_second(self) -> float:
        """The number of settled clips per second since the last call."""
        now = time.monotonic()
        rate = self.num_clips / max(now - self.started, 1e-9)
        self.started, self.num_clips = now, 0
        return rate


def report(window: Window, progress: Progress, plan: Plan, hooks: Hooks, factor: float) -> None:
    """End an interval and pass its metrics to the hooks."""
    window.settle(progress)
    metrics = progress.interval.metrics(window.criterion)
    if not metrics:
        return
    metrics |= {
        "lr": plan.learning_rate * factor,
        "clips_per_second": window.clips_per_second(),
    }
    if progress.num_skipped:
        metrics["train/skipped_updates"] = float(progress.num_skipped)
    progress.metrics |= metrics
    progress.interval = Totals()
    hooks.log(progress.epoch * plan.steps_per_epoch + progress.step, metrics)


def judge(metrics: dict[str, float], epoch: int, progress: Progress, plan: Plan) -> bool:
    """Store the evaluation after `epoch` in `progress`; return whether it is the best so far.

    Of two epochs with the same value, the epoch with the lower loss on the objective's split is
    better: on few recordings a network is often right early, but with low confidence.
    """
    progress.metrics |= metrics
    value = metrics[plan.objective]
    loss = f"{plan.objective.rpartition('/')[0]}/loss"
    surer = value == progress.best and metrics.get(loss, 0) < progress.best_metrics.get(loss, 0)
    if not surer and not plan.better(value, progress.best):
        progress.num_worse += 1
        return False
    progress.best, progress.best_epoch, progress.num_worse = value, epoch + 1, 0
    progress.best_metrics = dict(progress.metrics)
    return True


def rate_factor(schedule: Schedule, plan: Plan, epoch: int, step: int) -> float:
    """The schedule's factor for the update after `step` updates of `epoch`."""
    return schedule(epoch + step / plan.steps_per_epoch, plan.num_epochs)


def due(every: int | None, count: int) -> bool:
    """Whether an event that happens every `every` counts happens at `count`."""
    return every is not None and count % every == 0
