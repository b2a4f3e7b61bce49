"""`task=evaluate`: evaluate a checkpoint with the configuration of its run.

With `task.truth`, evaluate the timelines that it predicts for long recordings.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from flag3d_exp import bounds, console
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model, trained_batch_size
from flag3d_exp.data.formats.detections import Reading
from flag3d_exp.data.formats.truth import read_truth
from flag3d_exp.data.inputs import read_inputs
from flag3d_exp.data.source import Dataset
from flag3d_exp.data.timelines import Windows, timelines
from flag3d_exp.data.windows import tracks
from flag3d_exp.devices.device import Device
from flag3d_exp.devices.ranks import Ranks
from flag3d_exp.engine.checkpoint import Checkpoint, load_checkpoint
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.problems.problem import check_recordings, split_metrics
from flag3d_exp.report.run_figures import publish_predictions
from flag3d_exp.results.evaluation import gap_metrics
from flag3d_exp.results.predictions import CONFIDENCE
from flag3d_exp.results.zero_shot import harmonic_means
from flag3d_exp.runs import record
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.run_folder import save_metrics, save_predictions
from flag3d_exp.runs.session import Evaluator, forward_passes
from flag3d_exp.runs.transductive import note_transductive
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.tasks.import_weights import imported_checkpoint
from flag3d_exp.tasks.timelines import timeline_metrics, window_clips, write_timelines

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluate:
    """Settings of `task=evaluate`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best checkpoint), an MLflow run id, or a
            file that `task=import_weights` can read.
        splits: splits of the dataset; None for all but `train`.
        weights: the trained weights, or their moving average if the run kept one.
        batch_size: clips per forward pass; None: as in the run.
        num_workers: threads that prepare clips.
        limit_batches: batches per split, for a quick look; None for all.
        truth: a CSV file with the true classes over time in the recordings of `input`, see
            `data.formats.truth`; None: evaluate splits of the dataset.
        input: recordings of any length, as `task=predict` takes them.
        window, more_windows, hop, confidence, min_length: of timelines, as in `task=predict`.
    """

    checkpoint: str
    splits: list[str] | None = None
    weights: Literal["raw", "ema"] = "raw"
    batch_size: Annotated[int, ">= 1, <= 65536"] | None = None
    num_workers: Annotated[int, ">= 1"] = 1
    limit_batches: Annotated[int, ">= 1"] | None = None
    truth: str | None = None
    input: str | None = None
    window: Annotated[int, ">= 2, <= 100000"] = 100
    more_windows: list[Annotated[int, ">= 2, <= 100000"]] = field(default_factory=list)
    hop: Annotated[int, ">= 1, <= 100000"] = 10
    confidence: Annotated[float, ">= 0, <= 1"] = CONFIDENCE
    min_length: Annotated[int, ">= 1, <= 100000"] = 20

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        if self.splits is not None and not self.splits:
            raise UserError("`task.splits` must name at least one split, or be null; got [].")
        if (self.truth is None) != (self.input is None):
            raise UserError("`task.truth` and `task.input` go together; one of them is null.")
        self._windows()

    def _windows(self) -> Windows:
        """How to make timelines."""
        return Windows(self.window, self.hop, self.confidence, self.min_length, self.more_windows)

    def __call__(self, experiment: Experiment) -> float | None:
        """Evaluate; return the top-1 of `val` in percent, if that split is evaluated."""
        folder = experiment.folder
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path) if path.suffix == ".npz" else None
        device, device_name = experiment.device()
        if checkpoint is None:  # the file is from another program
            with blamed_on("task.checkpoint"):
                checkpoint = imported_checkpoint(experiment, path)
        if self.truth is not None:
            self._evaluate_timelines(experiment, checkpoint, device, device_name)
            return None
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
        for split, data in datasets.items():
            check_recordings(problem, split, data.recordings)
        model = restored_model(experiment, checkpoint, datasets.values(), self.weights)
        batch_size = self.batch_size or trained_batch_size(checkpoint)
        passes = forward_passes(datasets.values(), batch_size, self.limit_batches)
        predict = Predictor(model, device.compiles(passes))
        log.info(experiment.header(device_name, model, datasets))
        metrics: dict[str, float] = {}
        with (
            experiment.track(device_name, datasets) as tracker,
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
                saved = problem.arrays_to_save(predictions, targets)
                save_predictions(folder, split, dataset.names[: len(predictions)], saved)
                metrics |= split_metrics(split, problem.metrics(predictions, targets))
            metrics |= gap_metrics(metrics) | harmonic_means(metrics)
            note_transductive(folder, checkpoint.meta, tracker)
            tracker.log_report(record.final_report(metrics))
            tracker.log_artifact(save_metrics(folder, metrics))
            publish_predictions(folder, experiment.classes, tracker)
        for line in [
            *console.summary_lines(metrics, list(datasets), problem.metric_names),
            *experiment.places(tracker),
        ]:
            log.info(line)
        return metrics.get("val/top1")

    def _evaluate_timelines(
        self, experiment: Experiment, checkpoint: Checkpoint, device: Device, device_name: str
    ) -> None:
        """Evaluate the timelines of long recordings against the truth."""
        settings: Dataset = experiment.build("dataset")
        layout = load_layout(settings.layout)
        truth = read_truth(Path(str(self.truth)).expanduser(), experiment.classes)
        with blamed_on("task.input"):
            recordings = read_inputs(
                Path(str(self.input)).expanduser(),
                layout,
                settings.num_persons,
                Reading(num_coordinates=settings.num_coordinates),
            )
        how = self._windows()
        found = tracks(recordings, how.lengths, how.hop, settings.score_threshold)
        problem = experiment.classification("evaluate")
        clips = window_clips(found, experiment)
        model = restored_model(experiment, checkpoint, [clips], self.weights)
        batch_size = self.batch_size or trained_batch_size(checkpoint)
        predict = Predictor(model, device.compiles(forward_passes([clips], batch_size)))
        with (
            experiment.track(device_name) as tracker,
            console.progress_bar() as bar,
            StopRequest() as stop,
        ):
            evaluator = Evaluator(
                problem, predict, batch_size, self.num_workers, stop=stop, bar=bar
            )
            made = timelines(found, evaluator.predictions("windows", clips)[0], how)
            metrics = split_metrics("timeline", timeline_metrics(found, made, truth))
            tracker.log_report(record.final_report(metrics))
            tracker.log_artifact(save_metrics(experiment.folder, metrics))
        write_timelines(experiment.folder, found, made, experiment.classes, layout)
        values = {name.partition("/")[2]: value for name, value in metrics.items()}
        log.info("timeline: %s", "  ".join(f"{name} {v:.2f} %" for name, v in values.items()))
        for line in experiment.places(tracker):
            log.info(line)
