"""The Python interface: the functions of the command line, on arrays.

    import flag3d_exp as f3d

    run = f3d.load("outputs/joint")     # a run folder, a checkpoint file or an MLflow run id
    run.predict(keypoints)              # (M, T, V, C), or a list of them -> scores (n, K)
    run.evaluate("val")                 # {"top1": ..., "top5": ..., "loss": ...}
    run.config, run.model, run.classes

    train, val = f3d.clips(x, y, layout="coco", training=True), f3d.clips(x2, y2, layout="coco")
    trained = f3d.train(model, train, {"val": val}, epochs=12)

MindSpore is imported only when a network is needed. Accuracies are in percent.

Sizes: M persons, T frames, V joints, C coordinates, n recordings, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from flag3d_exp.config import checks
from flag3d_exp.config.checks import CONF
from flag3d_exp.config.command_line import CommandLine, assignment, search_path
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.recall import recall
from flag3d_exp.config.restore import is_scored, restored_model, trained_batch_size
from flag3d_exp.data.annotations import Recording, recording_of
from flag3d_exp.data.augment.recipe import recipe
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.inputs import input_clips
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.devices.device import Device, set_environment
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.faults import Faults
from flag3d_exp.problems.classify import Classify
from flag3d_exp.problems.problem import Problem, check_recordings, fit, split_metrics
from flag3d_exp.reading.moved_settings import moved_to
from flag3d_exp.runs.references import find_checkpoint

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.engine.checkpoint import Checkpoint
    from flag3d_exp.engine.schedule import Schedule
    from flag3d_exp.engine.train import Progress
    from flag3d_exp.runs.session import Evaluator

set_environment()  # before a program that uses this one imports MindSpore
Keypoints = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class LoadedRun:
    """A trained network with the configuration of its run.

    Attributes:
        path: the checkpoint file.
        model: the network with its head and its trained weights: clips (N, M, T, V, C) -> outputs.
    """

    path: Path
    model: "nn.Cell"
    experiment: Experiment
    checkpoint: "Checkpoint"

    @property
    def config(self) -> DictConfig:
        """The composed configuration, as `task=evaluate` would use it."""
        return self.experiment.config

    @property
    def classes(self) -> list[str]:
        """The names of the classes, by label."""
        return self.experiment.classes

    def dataset(self, split: str) -> ClipDataset:
        """The clips of a split of the run's dataset, prepared as the network expects them.

        Raises:
            UserError: there is no such split, or its file can't be read.
        """
        data = self.experiment.datasets([split])[split]
        data.check_scores(is_scored(self.checkpoint))
        return data

    def predict(
        self,
        keypoints: Keypoints | ClipDataset,
        scores: Keypoints | None = None,
        image_shape: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """The predictions for each recording; in classification, probabilities (n, K).

        Args:
            keypoints: (M, T, V, C) of one recording, or a list of them, or clips.
            scores: (M, T, V) of one recording, or a list of them: confidences of the joints.
            image_shape: (height, width) of the image whose pixels 2D keypoints are given in.

        Raises:
            UserError: an array does not fit the network.
        """
        if not isinstance(keypoints, ClipDataset):
            recordings = recordings_of(keypoints, scores=scores, image_shape=image_shape)
            made = self.experiment.build
            keypoints = input_clips(
                recordings,
                made("dataset"),
                made("pipeline"),
                made("stream"),
                self.experiment.seed,
            )
        keypoints.check_scores(is_scored(self.checkpoint))
        return self._evaluator.predictions("input", keypoints)[0]

    def evaluate(self, split: str = "val") -> dict[str, float]:
        """The metrics of a split, as `task=evaluate` gives them.

        Raises:
            UserError: there is no such split, or its file can't be read.
        """
        found = self._evaluator.predictions(split, self.dataset(split))
        return self._evaluator.problem.metrics(*found)

    @cached_property
    def _evaluator(self) -> "Evaluator":
        size = trained_batch_size(self.checkpoint)
        return evaluator(self.model, self.experiment.problem(), size)


@dataclass
class Trained:
    """The result of `train`.

    Attributes:
        model: the network with its head, with the weights of its best evaluation.
        metrics: all metrics of that evaluation, by names such as `val/top1`.
        best_epoch: counted from 1.
        history: all measurements in order: `step` (number of updates) and metrics by name.
    """

    model: "nn.Cell"
    metrics: dict[str, float]
    best_epoch: int
    history: list[dict[str, float]] = field(default_factory=list)


def load(reference: str | Path, *overrides: str, config_dir: str | Path | None = None) -> LoadedRun:
    """The network of a run, with the configuration that `task=evaluate` would give it.

    Args:
        reference: a run folder (its best checkpoint), a checkpoint file or an MLflow run id.
        overrides: as on the command line, such as `dataset.path=mine.pkl` or `device=cpu`.
        config_dir: folder with additional choices, as `--config-dir`.

    Raises:
        UserError: there is no such run, or an override is refused.
    """
    flags = [f"--config-dir={config_dir}"] if config_dir is not None else []
    given = ["task=evaluate", assignment("task.checkpoint", str(reference)), *overrides]
    line = CommandLine.parse([*flags, *given])
    searched = search_path(str(config_dir) if config_dir is not None else None)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            "config", [*recall(line), *line.overrides, *searched], return_hydra_config=True
        )
        with open_dict(config):
            choices = dict(config.pop("hydra").runtime.choices)
        checks.check(config)
        known = {str(group): str(choice) for group, choice in choices.items() if choice}
        experiment = Experiment(config, Path.cwd(), known, tuple(line.overrides), tuple(flags))
        set_environment(config.device.target, config.device.verbose, config.device.tf32)
        from flag3d_exp.engine.checkpoint import load_checkpoint

        path = find_checkpoint(str(reference), "task.checkpoint", config.tracking.uri)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        experiment.device()
        model = restored_model(experiment, checkpoint, ())
    return LoadedRun(path, model, experiment, checkpoint)


def clips(
    keypoints: Keypoints,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    layout: str,
    scores: Keypoints | None = None,
    image_shape: tuple[int, int] | None = None,
    stream: str = "joint",
    training: bool = False,
    augment: Sequence[Any] = (),
    seed: int = 0,
    **settings: Any,
) -> ClipDataset:
    """Recordings as clips for graph networks; `data[i]` is the array of recording i.

    Args:
        keypoints: a list of (M, T, V, C); lengths T may differ.
        labels: one per recording, from 0; None for an unknown label.
        layout: of the joints: nturgb+d, coco, mediapipe, ..., or the path of a YAML file.
        scores: a list of (M, T, V): confidences of the joints.
        image_shape: (height, width) of the image whose pixels 2D keypoints are given in.
        stream: joint, bone, k_bone (from the grandparent), or one of them with `_motion`.
        training: draw different clips in each epoch, and change them by `augment`.
        augment: random changes in the order in which they act, such as
            `flag3d_exp.data.augment.affine.Affine(rotation=0.3)`.
        seed: of the drawn clips and augmentations.
        settings: arguments of `GraphPipeline`, such as `clip_len=64` or `normalise="box"`.

    Raises:
        UserError: an array has another shape, or a setting is refused.
    """
    recordings = recordings_of(keypoints, labels, scores, image_shape)
    streams = tuple(name + of for name in ("joint", "bone", "k_bone") for of in ("", "_motion"))
    if stream not in streams:
        raise UserError(f"`stream` must be one of {', '.join(streams)}; got {stream!r}.")
    generations = 2 if stream.startswith("k_") else 1
    drawn = Stream(stream, "bone" in stream, "motion" in stream, generations)
    for key in settings:
        if moved := moved_to(f"pipeline.{key}"):
            raise UserError(f"{moved} Give objects of `flag3d_exp.data.augment` as `augment`.")
    pipeline = GraphPipeline(layout=layout, **settings)
    changes = recipe(augment)
    changes.check_fit(recordings[0].keypoints.shape[-1])
    faults = Faults()
    for recording in recordings:
        if (found := recording.keypoints.shape[2]) != pipeline.skeleton.num_joints:
            count = pipeline.skeleton.num_joints
            faults.add(recording.name, f"it has {found} joints, but layout {layout} has {count}.")
        elif not recording.finite:
            faults.add(recording.name, "it holds NaN or infinity; a missing joint is 0.")
    faults.refuse("keypoints")
    return ClipDataset(recordings, pipeline, drawn, seed, training, augment=changes)


def train(
    model: "nn.Cell",
    train_clips: ClipDataset,
    eval_clips: Mapping[str, ClipDataset],
    *,
    epochs: int = 30,
    repeat: int = 1,
    batch_size: int = 16,
    lr: float = 0.1,
    optimizer: Any = None,
    schedule: "Schedule | None" = None,
    problem: Problem | None = None,
    objective: str | None = None,
    seed: int = 0,
    device: Device | None = None,
) -> Trained:
    """Train a network; no folder is written and nothing is logged.

    Args:
        model: a backbone, which gets the problem's head, or a network that already has a head.
        eval_clips: the splits to evaluate after each epoch, by name.
        repeat: passes over `train_clips` per epoch.
        lr: of the default optimizer, SGD with momentum 0.9 and weight decay 5e-4.
        optimizer: a function of parameter groups that returns an `nn.Optimizer`; see
            `engine.optimizer`.
        schedule: of the learning rate; half a cosine by default.
        problem: what is learned; by default classification, with as many classes as the labels
            need.
        objective: the metric that decides which epoch is best; by default the problem's objective
            on the first split.
        seed: of order, augmentation and dropout; the model's initial weights do not depend on it.
        device: device and precision; by default the first available device, in float32.

    Raises:
        UserError: a setting is refused, or there is no split to evaluate.
        Interrupted: Ctrl-C.
    """
    device = device or Device()
    set_environment(device.target, device.verbose, device.tf32)
    device.activate()
    from flag3d_exp.console import progress_bar
    from flag3d_exp.engine.interrupt import StopRequest
    from flag3d_exp.engine.optimizer import parameter_groups, sgd
    from flag3d_exp.engine.parameters import assign_parameters
    from flag3d_exp.engine.schedule import Cosine
    from flag3d_exp.engine.step import StepSettings, TrainStep
    from flag3d_exp.engine.train import Plan, Progress
    from flag3d_exp.engine.train import train as run_plan
    from flag3d_exp.runs.feed import Feed

    if not eval_clips:
        raise UserError("`eval_clips` must map at least one name to clips; got {}.")
    problem = problem or classes_of(train_clips)
    for split, clips_of in {"train_clips": train_clips, **eval_clips}.items():
        check_recordings(problem, split, clips_of.recordings)
    network = device.lowered_model(problem.network(model) if hasattr(model, "features") else model)
    fit(problem, network, train_clips)
    metric = objective or f"{next(iter(eval_clips))}/{problem.objective}"
    known = [f"{split}/{name}" for split in eval_clips for name in problem.metric_names]
    if metric not in known:
        raise UserError(f"`objective` must be one of {', '.join(known)}; got {metric!r}.")
    groups = parameter_groups(network.get_parameters(), None, freeze_backbone=False)
    made = optimizer(groups) if optimizer else sgd(groups, lr)
    criterion = problem.criterion(train_clips.targets)
    how = StepSettings(loss_scaling=device.precision == "fp16", jit=device.compiles())
    step = TrainStep(network, criterion, made, how)
    feed = Feed(train_clips, problem, network, batch_size, seed=seed, repeat=repeat)
    plan = Plan(epochs, len(feed), step.base_rates[0], objective=metric)
    progress = Progress()
    with progress_bar() as bar, StopRequest() as stop:
        judge = evaluator(network, problem, batch_size, device)
        notes = _Notes(network, judge, eval_clips, plan, bar)
        run_plan(step, feed, schedule or Cosine(), plan, progress, notes, stop)
    assign_parameters(network.get_parameters(), notes.best_weights)
    return Trained(network, progress.best_metrics, progress.best_epoch, notes.history)


def predict(model: "nn.Cell", data: ClipDataset, problem: Problem | None = None) -> np.ndarray:
    """The predictions of a network with a head for each recording, as in `LoadedRun.predict`."""
    return evaluator(model, problem or classes_of(data)).predictions("input", data)[0]


def evaluate(
    model: "nn.Cell", data: ClipDataset, problem: Problem | None = None
) -> dict[str, float]:
    """The metrics of a network with a head on labelled clips."""
    problem = problem or classes_of(data)
    return problem.metrics(*evaluator(model, problem).predictions("input", data))


def classes_of(data: ClipDataset) -> Classify:
    """Classification with as many classes as the labels of the clips need."""
    return Classify(int(data.labels.max()) + 1)


def recordings_of(
    keypoints: Keypoints,
    labels: Sequence[int] | np.ndarray | None = None,
    scores: Keypoints | None = None,
    image_shape: tuple[int, int] | None = None,
) -> list[Recording]:
    """Arrays as recordings; their numbers are their names.

    Raises:
        UserError: an array has another shape or type, or the lists differ in length.
    """
    arrays = _list_of_arrays(keypoints, 4)
    labels = None if labels is None else np.asarray(labels).tolist()
    confidences = None if scores is None else _list_of_arrays(scores, 3)
    for name, given in (("labels", labels), ("scores", confidences)):
        if given is not None and len(given) != len(arrays):
            raise UserError(
                f"`{name}` must be one for each of {len(arrays)} recordings; got {len(given)}."
            )
    faults, recordings = Faults(), []
    for number, array in enumerate(arrays):
        fields: dict[str, Any] = {"name": str(number), "label": 0, "keypoints": np.asarray(array)}
        if labels is not None:
            fields["label"] = labels[number]
        if confidences is not None:
            fields["scores"] = np.asarray(confidences[number])
        if image_shape is not None:
            fields["image_shape"] = image_shape
        with faults.of(f"number {number}"):
            recordings.append(recording_of(fields))
    faults.refuse("keypoints")
    if not recordings:
        raise UserError("`keypoints` must hold at least one recording; got none.")
    return recordings


def evaluator(
    model: "nn.Cell", problem: Problem, batch_size: int = 16, device: Device | None = None
) -> "Evaluator":
    """Predictions of a network for whole splits."""
    from flag3d_exp.engine.predict import Predictor
    from flag3d_exp.runs.session import Evaluator

    compiled = device is not None and device.compiles()
    return Evaluator(problem, Predictor(model, compiled), batch_size)


def _list_of_arrays(arrays: Keypoints, ndim: int) -> list[np.ndarray]:
    """A list of arrays, from a single array, a stack of arrays or a list."""
    if isinstance(arrays, np.ndarray) and arrays.ndim <= ndim and arrays.dtype != object:
        return [arrays]
    return list(arrays)


class _Notes:
    """The hooks of a training that keeps its measurements and best weights in memory."""

    def __init__(self, network: Any, judge: "Evaluator", splits: Any, plan: Any, bar: Any):
        self.network, self.judge, self.splits = network, judge, splits
        self.plan, self.bar = plan, bar
        self.history: list[dict[str, float]] = []
        self.best_weights: dict[str, np.ndarray] = {}

    def log(self, step: int, metrics: dict[str, float]) -> None:
        if self.history and self.history[-1]["step"] == step:
            self.history[-1].update(metrics)
        else:
            self.history.append({"step": step} | metrics)

    def advance(self, progress: "Progress") -> None:
        title = f"epoch {progress.epoch + 1}/{self.plan.num_epochs}"
        self.bar.show(title, progress.step, self.plan.steps_per_epoch)

    def evaluate(self) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for split, data in self.splits.items():
            found = self.judge.predictions(split, data)
            metrics |= split_metrics(split, self.judge.problem.metrics(*found))
        return metrics

    def save(self, progress: "Progress", is_best: bool) -> None:
        from flag3d_exp.engine.parameters import parameter_values

        if is_best:
            self.best_weights = parameter_values(self.network.get_parameters())

    def report(self, progress: "Progress") -> None:
        """Nobody asks."""
