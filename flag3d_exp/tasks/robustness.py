"""`task=robustness`: measure how a checkpoint's accuracy falls as recordings get worse."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated

import numpy as np

from flag3d_exp import bounds, console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model, trained_batch_size
from flag3d_exp.data import disturb
from flag3d_exp.data.augment.recipe import NOTHING
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.report.robustness import Point, curves, table
from flag3d_exp.results.intervals import wilson
from flag3d_exp.results.metrics import label_ranks
from flag3d_exp.runs import record
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.run_folder import save_metrics
from flag3d_exp.runs.session import Evaluator, forward_passes
from flag3d_exp.runs.transductive import note_transductive

log = logging.getLogger(__name__)
Shares = list[Annotated[float, "> 0, <= 1"]]


@dataclass(frozen=True)
class Robustness:
    """Settings of `task=robustness`; an empty list leaves a disturbance out.

    Args:
        checkpoint: a checkpoint file, a run folder (its best checkpoint) or an MLflow run id.
        splits: splits of the dataset; None for all but `train`.
        frame_rate: shares of the frames that are kept, evenly spaced.
        crop: shares of the recording that are kept, as one part.
        lost_joints: shares of the joints that are missing, frame by frame.
        jitter: standard deviations of errors, in sizes of the person.
        rotation: angles in radians: in the picture, or about each axis in 3D.
        mirror: also evaluate mirror images.
        batch_size: clips per forward pass; None: as in the run.
        num_workers: threads that prepare clips.
        limit_batches: batches per split, for a quick look; None for all.
    """

    checkpoint: str
    splits: list[str] | None = None
    frame_rate: Shares = field(default_factory=lambda: [0.5, 0.25, 0.125])
    crop: Shares = field(default_factory=lambda: [0.9, 0.7, 0.5])
    lost_joints: Shares = field(default_factory=lambda: [0.05, 0.1, 0.2, 0.4])
    jitter: Shares = field(default_factory=lambda: [0.01, 0.02, 0.05])
    rotation: list[Annotated[float, "> 0, <= 3.2"]] = field(default_factory=lambda: [0.1, 0.3, 0.6])
    mirror: bool = True
    batch_size: Annotated[int, ">= 1, <= 65536"] | None = None
    num_workers: Annotated[int, ">= 1"] = 1
    limit_batches: Annotated[int, ">= 1"] | None = None

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        if not any(True for _ in self.disturbances()):
            raise UserError("`task=robustness` needs at least one degree of one disturbance.")

    def disturbances(self) -> Iterator[tuple[str, disturb.Disturbance, float]]:
        """Name, function and degree of each."""
        functions = {
            "frame_rate": disturb.fewer_frames,
            "crop": disturb.cropped_recording,
            "lost_joints": disturb.lost_joints,
            "jitter": disturb.jittered_recording,
            "rotation": disturb.rotated_recording,
        }
        for name, function in functions.items():
            for degree in getattr(self, name):
                yield name, function, degree
        if self.mirror:
            yield "mirror", disturb.mirrored_recording, 1.0

    def __call__(self, experiment: Experiment) -> None:
        """Evaluate; write `robustness.md`, `robustness.json` and `robustness.png`."""
        folder = experiment.folder
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        splits = self.splits or [split for split in experiment.splits if split != "train"]
        for split in splits:
            if split not in experiment.splits:
                known = ", ".join(experiment.splits)
                raise UserError(
                    f"`task.splits` must be some of `dataset.splits`, {known}; got {split!r}."
                    f"{nearest(split, experiment.splits)}"
                )
        device, device_name = experiment.device()
        datasets = {name: as_seen(data) for name, data in experiment.datasets(splits).items()}
        problem = experiment.classification("robustness")
        model = restored_model(experiment, checkpoint, datasets.values())
        size = self.batch_size or trained_batch_size(checkpoint)
        passes = forward_passes(datasets.values(), size, self.limit_batches)
        log.info(experiment.header(device_name, model, datasets))
        points: list[Point] = []
        with (
            experiment.track(device_name, datasets) as tracker,
            console.progress_bar() as bar,
            StopRequest() as stop,
        ):
            evaluator = Evaluator(
                problem,
                Predictor(model, device.compiles(passes)),
                size,
                self.num_workers,
                self.limit_batches,
                stop,
                bar,
            )
            for name, function, degree in [("", None, 0.0), *self.disturbances()]:
                for split, data in datasets.items():
                    changed = data
                    if function is not None:
                        changed = disturbed_recordings(data, function, degree, experiment.seed)
                    scores, targets = evaluator.predictions(split, changed)
                    right = int((label_ranks(scores, targets["label"]) == 0).sum())
                    points.append(Point(split, name, degree, wilson(right, len(scores))))
            metrics = {metric_name(p): 100 * p.accuracy.value for p in points}
            text = table(points)
            files.write_text(folder / "robustness.md", text)
            files.write_json(folder / "robustness.json", [asdict(point) for point in points])
            files.write_figure(folder / "robustness.png", curves(points), dpi=130)
            tracker.log_report(record.final_report(metrics))
            tracker.log_artifact(save_metrics(folder, metrics))
            for name in ("robustness.md", "robustness.json", "robustness.png"):
                tracker.log_artifact(folder / name)
            note_transductive(folder, checkpoint.meta, tracker)
        console.show(text)
        for line in experiment.places(tracker):
            log.info(line)


def metric_name(point: Point) -> str:
    """The metric name in MLflow: `val/top1`, or `val_jitter_0.02/top1` for a disturbance."""
    change = f"_{point.disturbance}_{point.degree:g}" if point.disturbance else ""
    return f"{point.split}{change}/top1"


def as_seen(data: ClipDataset) -> ClipDataset:
    """The test clips; 3D recordings are projected as their cameras see them."""
    cameras = data.augment.cameras
    recordings = (
        data.recordings if cameras is None else list(map(cameras.filmed_recording, data.recordings))
    )
    return replace(data, recordings=recordings, training=False, augment=NOTHING)


def disturbed_recordings(
    data: ClipDataset, function: disturb.Disturbance, degree: float, seed: int
) -> ClipDataset:
    """The disturbed recordings; each draws from (seed, index)."""
    layout = data.pipeline.skeleton
    changed = [
        function(recording, layout, degree, np.random.default_rng((seed, index)))
        for index, recording in enumerate(data.recordings)
    ]
    return replace(data, recordings=changed)
