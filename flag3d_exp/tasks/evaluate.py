"""`task=evaluate`: the scores of a checkpoint, with its run's own configuration."""

import logging
from dataclasses import dataclass
from typing import Annotated, Literal

from flag3d_exp import bounds, console
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model, trained_batch_size
from flag3d_exp.devices.ranks import Ranks
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.problems.problem import split_metrics
from flag3d_exp.report.run_figures import publish_predictions
from flag3d_exp.results.evaluation import gap_metrics
from flag3d_exp.runs import record
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.run_folder import save_metrics, save_predictions
from flag3d_exp.runs.session import Evaluator, forward_passes
from flag3d_exp.tasks.import_weights import imported

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluate:
    """Settings of `task=evaluate`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best one), an MLflow run id, or a file that
            `task=import_weights` can read.
        splits: which of the dataset's splits; None for all but `train`.
        weights: the trained ones, or their moving average where the run kept one.
        batch_size: clips per forward pass; None for the run's own.
        num_workers: threads that prepare clips.
        limit_batches: batches per split, for a quick look; None for all.
    """

    checkpoint: str
    splits: list[str] | None = None
    weights: Literal["raw", "ema"] = "raw"
    batch_size: Annotated[int, ">= 1, <= 65536"] | None = None
    num_workers: Annotated[int, ">= 1"] = 1
    limit_batches: Annotated[int, ">= 1"] | None = None

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        if self.splits is not None and not self.splits:
            raise UserError("`task.splits` must name at least one split, or be null; got [].")

    def __call__(self, experiment: Experiment) -> float | None:
        """Evaluate; the top-1 of `val` in percent, if that split is evaluated."""
        folder = experiment.folder
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path) if path.suffix == ".npz" else None
        device, device_name = experiment.device()
        if checkpoint is None:  # of another program
            with blamed_on("task.checkpoint"):
                checkpoint = imported(experiment, path)
        splits = self.splits or [split for split in experiment.splits if split != "train"]
        for split in splits:
            if split not in experiment.splits:
                known = experiment.splits
                raise UserError(
                    f"`task.splits` must be some of `dataset.splits`, {', '.join(known)}; "
                    f"got {split!r}.{nearest(split, known)}"
                )
        datasets = experiment.datasets(splits)
        problem = experiment.problem()
        model = restored_model(experiment, checkpoint, datasets.values(), self.weights)
        batch_size = self.batch_size or trained_batch_size(checkpoint)
        passes = forward_passes(datasets.values(), batch_size, self.limit_batches)
        predict = Predictor(model, device.compiles(passes))
        log.info(experiment.header(device_name, model, datasets))
        metrics: dict[str, float] = {}
        with (
            experiment.tracked(device_name, datasets) as tracker,
            console.progress_bar() as bar,
            StopRequest() as stop,
        ):
            evaluator = Evaluator(
                problem,
                predict,
                batch_size,
                self.num_workers,
                self.limit_batches,
                stop,
                bar,
                Ranks.here(),
            )
            for split, dataset in datasets.items():
                predictions, targets = evaluator.predictions(split, dataset)
                saved = problem.saved(predictions, targets)
                save_predictions(folder, split, dataset.names[: len(predictions)], saved)
                metrics |= split_metrics(split, problem.metrics(predictions, targets))
            metrics |= gap_metrics(metrics)
            tracker.log_report(record.final_report(metrics))
            tracker.log_artifact(save_metrics(folder, metrics))
            classes = experiment.classes if problem.classifies else None
            publish_predictions(folder, classes, tracker)
        for line in [
            *console.summary_lines(metrics, list(datasets), problem.metric_names),
            *experiment.places(tracker),
        ]:
            log.info(line)
        return metrics.get("val/top1")
