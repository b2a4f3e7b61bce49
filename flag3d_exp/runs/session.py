"""The hooks of a run's training loop: evaluate, save checkpoints, report."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flag3d_exp import files
from flag3d_exp.console import ProgressBar, TimeLeft, metric_line
from flag3d_exp.devices.ranks import Ranks
from flag3d_exp.engine.checkpoint import Checkpoint, save_checkpoint
from flag3d_exp.engine.evaluate import clip_outputs, weights_swapped
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.engine.parameters import parameter_values
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.engine.step import TrainStep
from flag3d_exp.engine.train import Plan, Progress
from flag3d_exp.problems.problem import Arrays, Problem, split_metrics
from flag3d_exp.results.evaluation import gap_metrics
from flag3d_exp.results.zero_shot import harmonic_means
from flag3d_exp.runs.run_folder import History, check_kept, inside, save_predictions
from flag3d_exp.runs.tracking import Tracker

if TYPE_CHECKING:
    from flag3d_exp.data.dataset import ClipDataset

log = logging.getLogger(__name__)
Predictions = dict[str, tuple[np.ndarray, Arrays]]  # split -> predictions and targets (n, ...)


class Evaluator:
    """Predictions for whole splits with one compiled function.

    Args:
        problem: computes the predictions from the outputs of a recording's clips.
        predict: clips -> outputs, with the weights that the model has when a split begins.
        batch_size: clips per forward pass.
        limit_batches: batches per split and rank; None for all.
        stop: checked between batches; only for one process, because ranks are not synchronised
            there.
        ranks: the processes that share the recordings; the scores are gathered.
    """

    def __init__(
        self,
        problem: Problem,
        predict: Predictor,
        batch_size: int,
        num_workers: int = 1,
        limit_batches: int | None = None,
        stop: StopRequest | None = None,
        bar: ProgressBar | None = None,
        ranks: Ranks | None = None,
    ):
        self.problem, self.predict = problem, predict
        self.batch_size, self.num_workers = batch_size, num_workers
        self.limit_batches, self.stop, self.bar = limit_batches, stop, bar
        self.ranks = ranks or Ranks()

    def predictions(self, split: str, dataset: "ClipDataset") -> tuple[np.ndarray, Arrays]:
        """Predictions and targets (n, ...) of a split, in the order of its recordings.

        Raises:
            Interrupted: a stop was requested during the evaluation.
        """
        from flag3d_exp.data.loader import batches

        varies = dataset.pipeline.varies  # then only the clips of one recording make an array
        size = 1 if varies else max(1, self.batch_size // len(dataset.clips(0)))
        num_recordings = len(dataset)
        if self.limit_batches is not None:
            num_recordings = min(num_recordings, self.limit_batches * size * self.ranks.world)
        shares = evaluation_shares(num_recordings, self.ranks.world)
        own = shares[self.ranks.rank]
        loaded = batches(dataset, own, size, num_workers=self.num_workers)
        stop = self.stop if self.ranks.world == 1 else None
        with stop.at_once() if stop else nullcontext():
            watched = self._watch(split, loaded, len(own))
            self.predict.refresh()
            inputs = self.problem.test_inputs
            outputs = clip_outputs(self.predict, watched, self.batch_size, inputs)
            found = np.concatenate([self.problem.predictions(o, clips) for clips, o in outputs])
        predictions = np.empty((num_recordings, *found.shape[1:]), np.float32)
        predictions[shares] = self.ranks.gather(found)
        targets = {name: array[:num_recordings] for name, array in dataset.targets.items()}
        return predictions, targets

    def _watch(self, split: str, loaded: Iterable, num_recordings: int) -> Iterator:
        done = 0
        if self.bar is not None:  # the first batch may include a compilation
            self.bar.show(f"evaluating {split}", done, num_recordings)
        for batch in loaded:
            if self.stop is not None and self.ranks.world == 1:
                self.stop.check()
            yield batch
            done += len(batch.labels)
            if self.bar is not None:
                self.bar.show(f"evaluating {split}", done, num_recordings)


def evaluation_shares(num_recordings: int, world: int) -> np.ndarray:
    """(world, n) indices of the recordings that each rank evaluates; the last ones wrap around."""
    per_rank = -(-num_recordings // world)
    return np.resize(np.arange(num_recordings), per_rank * world).reshape(per_rank, world).T


class Session:
    """The hooks of one training run."""

    def __init__(
        self,
        folder: Path,
        step: TrainStep,
        plan: Plan,
        splits: Mapping[str, "ClipDataset"],
        evaluator: Evaluator,
        tracker: Tracker,
        bar: ProgressBar,
        meta: Mapping[str, Any],
        keep_last: int = 1,
        keep_best: int = 1,
        report_to: Callable[[int, Mapping[str, float]], None] | None = None,
    ):
        self.folder, self.model, self.step, self.plan = folder, step.model, step, plan
        self.splits, self.evaluator = splits, evaluator
        self.tracker, self.bar, self.meta = tracker, bar, dict(meta)
        self.keep_last, self.keep_best = keep_last, keep_best
        self.report_to = report_to
        self.history = History(folder)
        self.time_left = TimeLeft()
        self._inode = folder.stat().st_ino
        self.predictions: Predictions = {}
        self.best_predictions: Predictions = {}
        self.unsaved: dict[str, Checkpoint] = {}  # `last` and `best`, if the disk was full
        self.evaluated = False  # in the running epoch

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Store the metrics of one step and send them to MLflow."""
        report = self.history.add(step, metrics)
        if report is not None:
            self.tracker.log_report(report)

    def advance(self, progress: Progress) -> None:
        """Draw the bar."""
        note = metric_line(progress.metrics, ["train/loss", "train/top1", "clips_per_second"])
        title = f"epoch {progress.epoch + 1}/{self.plan.num_epochs}"
        per_epoch = self.plan.steps_per_epoch
        done = progress.epoch * per_epoch + progress.step
        left = self.time_left.text(done, self.plan.num_epochs * per_epoch)
        self.bar.show(title, progress.step, per_epoch, note, f"(run {left})" if left else "")

    def evaluate(self) -> dict[str, float]:
        """`<split>/<metric>` of every split; `<split>_ema/<metric>` for averages."""
        self.evaluated = True
        metrics = self._evaluate("")
        if self.step.ema:
            with weights_swapped(self.model, self._averages()):
                metrics |= self._evaluate("_ema")
        return metrics | gap_metrics(metrics) | harmonic_means(metrics)

    def _evaluate(self, suffix: str) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for split, dataset in self.splits.items():
            found = self.evaluator.predictions(split, dataset)
            self.predictions[split + suffix] = found
            metrics |= split_metrics(split + suffix, self.evaluator.problem.metrics(*found))
        return metrics

    def save(self, progress: Progress, is_best: bool) -> None:
        """Save a checkpoint; if the disk is full, log a warning and continue.

        A checkpoint that could not be written is tried again at the next save. Weights that are not
        finite do not replace the checkpoint that the run can be resumed from.
        """
        if progress.step == 0:
            log.info(epoch_line(progress, self.plan, self.evaluated, is_best))
            self.evaluated = False
        if not self.evaluator.ranks.first:
            return
        check_kept(self.folder, self._inode)
        checkpoint = Checkpoint(
            parameter_values(self.model.get_parameters()),
            parameter_values(self.step.optimizer_state),
            self._averages(),
            self.meta | {"progress": progress.state()},
        )
        if all(np.isfinite(array).all() for array in checkpoint.weights.values()):
            self.unsaved["last"] = checkpoint
        else:
            log.warning("The weights are not finite; `last` is not replaced.")
        if is_best:
            self.unsaved["best"], self.best_predictions = checkpoint, dict(self.predictions)
        try:
            self.write()
        except OSError as error:
            log.warning(
                "No checkpoint at epoch %d, step %d (%s); the next save tries again.",
                progress.epoch,
                progress.step,
                files.reason(error),
            )

    def write(self) -> None:
        """Write the checkpoints that are not on disk yet.

        Raises:
            OSError: the disk is full.
        """
        if "best" in self.unsaved:  # before `last`: a run resumed from `last` would not redo it
            for split, (predictions, targets) in self.best_predictions.items():
                names = self.splits[split.removesuffix("_ema")].names[: len(predictions)]
                saved = self.evaluator.problem.arrays_to_save(predictions, targets)
                save_predictions(self.folder, split, names, saved)
        for name, keep in (("best", self.keep_best), ("last", self.keep_last)):
            if name in self.unsaved:
                save_checkpoint(
                    inside(self.folder, "checkpoints", f"{name}.npz"), self.unsaved[name], keep
                )
                del self.unsaved[name]

    def report(self, progress: Progress) -> None:
        """Report the metrics to the sweep, if the run is a trial.

        Raises:
            Pruned: the pruner stops the trial.
        """
        if self.report_to is not None:
            self.report_to(progress.epoch, progress.metrics)

    def _averages(self) -> dict[str, np.ndarray]:
        return {p.name.removeprefix("ema."): p.asnumpy().copy() for p in self.step.ema}


def forward_passes(
    datasets: Iterable["ClipDataset"], batch_size: int, limit_batches: int | None = None
) -> int:
    """The number of forward passes of an `Evaluator` over whole datasets."""
    total = 0
    for dataset in datasets:
        passes = -(-len(dataset) * len(dataset.clips(0)) // batch_size)
        total += min(passes, limit_batches or passes)
    return total


def epoch_line(progress: Progress, plan: Plan, evaluated: bool, is_best: bool) -> str:
    """One epoch in one line, with the accuracies if it was evaluated."""
    leaf = "top1" if "train/top1" in progress.metrics else plan.objective.rpartition("/")[2]
    shown = ["train/loss", f"train/{leaf}"]
    if evaluated:
        shown += [name for name in progress.metrics if name.endswith(f"/{leaf}")]
    shown = list(dict.fromkeys(shown))
    shown.append("clips_per_second")
    width = len(str(plan.num_epochs))
    line = (
        f"epoch {progress.epoch:{width}}/{plan.num_epochs}  {metric_line(progress.metrics, shown)}"
    )
    return line + ("  best so far" if is_best else "")
