"""`task=train`: train a model, evaluate it on every split, save and log the results."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mindspore import nn
from omegaconf import DictConfig, OmegaConf

from flag3d_exp import bounds, console
from flag3d_exp.config.experiment import Experiment, num_parameters
from flag3d_exp.data import upright
from flag3d_exp.data.augment.recipe import Recipe
from flag3d_exp.debug.updates import Debug, updates
from flag3d_exp.devices.ranks import Ranks
from flag3d_exp.engine import reuse
from flag3d_exp.engine.interrupt import Interrupted, StopRequest
from flag3d_exp.engine.optimizer import parameter_groups
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.engine.step import Criterion, StepSettings, TrainStep
from flag3d_exp.engine.train import NonFiniteLoss, Plan, Progress, train
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.models.layers import synchronise
from flag3d_exp.problems.problem import (
    Problem,
    check_recordings,
    fit,
    problem_doubts,
    provenance,
)
from flag3d_exp.report.run_figures import publish
from flag3d_exp.runs import record, resume
from flag3d_exp.runs.feed import Feed
from flag3d_exp.runs.session import Evaluator, Session
from flag3d_exp.splits import AVERAGED, UNSEEN

if TYPE_CHECKING:
    from flag3d_exp.data.dataset import ClipDataset

log = logging.getLogger(__name__)
# Settings that change data, numbers of updates or files, but not the compiled step of a network.
NOT_COMPILED = ("seed", "fold", "scheduler", "tracking")
NOT_COMPILED_OF_TASK = (
    "epochs",
    "repeat",
    "num_workers",
    "eval_every",
    "log_every",
    "objective",
    "early_stop",
    "save_every",
    "save_minutes",
    "keep_last",
    "keep_best",
    "limit_batches",
    "resume",
)
FEW_UPDATES = 200  # even a network of a few layers learns little in fewer updates


@dataclass(frozen=True)
class Train:
    """Settings of `task=train`.

    Args:
        epochs: number of epochs; a checkpoint is saved after each epoch.
        repeat: passes over the train split per epoch.
        batch_size: clips per step and device.
        eval_batch_size: clips per forward pass of an evaluation; None for `batch_size`.
        num_workers: threads that prepare clips.
        eval_every: epochs between evaluations.
        log_every: updates between reports; None for one per epoch.
        objective: metric that decides which epoch is best; equal values are decided by the loss.
            Lower is better if its name ends in `loss`.
        clip_norm: largest global L2 norm of the gradient; None for no clipping.
        accumulate: batches per update; the global batch is `batch_size * accumulate` per device.
        sync_batchnorm: under msrun, normalise over the batches of all ranks together.
        ema_decay: decay of a moving average of the weights, evaluated as `<split>_ema`; None: none.
        early_stop: evaluations without improvement after which training ends; None for never.
        nonfinite: reaction to a non-finite loss: `stop` the run, or `skip` and count the update.
        save_every: updates between checkpoints, in addition to one after each epoch; None for none.
        save_minutes: minutes between checkpoints, in addition to the others; None for none.
        keep_last: number of latest checkpoints to keep.
        keep_best: number of best checkpoints to keep.
        limit_batches: updates per epoch and batches per evaluation, for a quick look; None for all.
        init_from: checkpoint file, run folder (its best checkpoint) or MLflow run id whose weights
            to start from (fine-tuning).
        init_head: `keep` the head of `init_from`, `skip` it, or `auto`: skip it if the classes
            differ.
        freeze_backbone: train only the head.
        head_lr: learning rate of the head; None for the optimizer's.
        resume: run folder or MLflow run id to continue; `auto` continues the run in the run folder.
        debug: the use of the run's updates instead of training; chosen by `debug=...`.
    """

    epochs: Annotated[int, ">= 1"] = 30
    repeat: Annotated[int, ">= 1, <= 100000"] = 1
    batch_size: Annotated[int, ">= 1, <= 65536"] = 16
    eval_batch_size: Annotated[int, ">= 1, <= 65536"] | None = None
    num_workers: Annotated[int, ">= 1"] = 1
    eval_every: Annotated[int, ">= 1"] = 1
    log_every: Annotated[int, ">= 1"] | None = None
    objective: str = "val/top1"
    clip_norm: Annotated[float, "> 0"] | None = None
    accumulate: Annotated[int, ">= 1"] = 1
    sync_batchnorm: bool = False
    ema_decay: Annotated[float, "> 0, < 1"] | None = None
    early_stop: Annotated[int, ">= 1"] | None = None
    nonfinite: Literal["stop", "skip"] = "stop"
    save_every: Annotated[int, ">= 1"] | None = None
    save_minutes: Annotated[float, "> 0"] | None = None
    keep_last: Annotated[int, ">= 1"] = 2
    keep_best: Annotated[int, ">= 1"] = 1
    limit_batches: Annotated[int, ">= 1"] | None = None
    init_from: str | None = None
    init_head: Literal["keep", "skip", "auto"] = "auto"
    freeze_backbone: bool = False
    head_lr: Annotated[float, "> 0"] | None = None
    resume: str | None = None
    debug: Debug | None = None

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        if isinstance(self.debug, str):
            raise UserError(f"`task.debug` is chosen by `debug=...`; got {self.debug!r}.")

    def __call__(self, experiment: Experiment) -> float | None:
        """Train; return the best value of the objective (None for a debugging run)."""
        ranks = Ranks.here()
        with ending_together(ranks):
            return self._train(experiment, ranks)

    def _train(self, experiment: Experiment, ranks: Ranks) -> float | None:
        folder = experiment.folder
        device, device_name = experiment.device()
        schedule = experiment.build("scheduler")
        datasets = experiment.datasets()
        problem = experiment.problem()
        check_splits(datasets, self.objective, problem, averaged=self.ema_decay is not None)
        train_split = datasets["train"]
        check_augment(train_split.augment, problem)
        classes = experiment.config.dataset.get("classes") or ()
        for line in [
            *augment_doubts(train_split, classes),
            *problem_doubts(problem, train_split.recordings),
        ]:
            log.warning(line)
        scored = train_split.has_scores
        for split, data in datasets.items():
            data.check_scores(scored)
            check_recordings(problem, split, data.recordings)
        evaluated = {split: data for split, data in datasets.items() if split != "train"}
        model = experiment.model()
        fit(problem, model, train_split)
        if self.init_from:
            uri = experiment.tracking_uri
            resume.initialise(model, self.init_from, uri, self.init_head, experiment.meta)
        if self.sync_batchnorm and ranks.world > 1:
            synchronise(model, ranks.world)
        compiled = device.compiles()
        criterion = problem.criterion(train_split.targets)
        step = self._step(experiment, model, criterion, compiled, ranks.world)
        kept = None
        if experiment.trial is not None:  # a later run of this process may have the same graph
            kept = reuse.compiled_parts(graph_settings(experiment.config, step.optimizer), step)
            step, model = kept.step, kept.step.model
        meta = experiment.meta | {"data": train_split.digest, "scored": scored}
        meta |= provenance(problem)
        progress = resume.restore(folder, model, step, meta) if self.resume else Progress()
        if ranks.world > 1:
            progress = resume.broadcast(ranks, model, step, progress)
        progress.metrics["num_parameters"] = float(num_parameters(model))
        load = Feed(
            train_split,
            problem,
            model,
            self.batch_size,
            self.accumulate,
            experiment.seed,
            self.num_workers,
            self.limit_batches,
            self.repeat,
            ranks,
        )
        plan = self._plan(len(load), step.base_rates[0])
        log.info(experiment.header(device_name, model, datasets))
        if self.debug is not None:
            self.debug(step, updates(load, train_split.names, schedule, plan, progress))
            return None
        if self.limit_batches is None and (line := few_updates(plan)):
            log.warning(line)
        with (
            experiment.track(device_name, datasets) as tracker,
            console.progress_bar("compiling" if compiled else "starting") as bar,
            StopRequest(ranks.any if ranks.world > 1 else None) as stop,
        ):
            size = self.eval_batch_size or self.batch_size
            predict = kept.predict if kept is not None else Predictor(model, compiled)
            evaluator = Evaluator(
                problem, predict, size, self.num_workers, self.limit_batches, stop, bar, ranks
            )
            session = Session(
                folder,
                step,
                plan,
                evaluated,
                evaluator,
                tracker,
                bar,
                meta,
                keep_last=self.keep_last,
                keep_best=self.keep_best,
                report_to=experiment.trial and experiment.trial.report,
            )
            try:
                train(step, load, schedule, plan, progress, session, stop)
            except NonFiniteLoss as error:
                raise record.explain(error, folder, train_split, tracker) from error
            session.write()
            if ranks.first:
                publish(folder, session.history, plan, progress, experiment.classes, tracker)
        for line in [
            *console.summary_lines(progress.best_metrics, list(evaluated), problem.metric_names),
            *experiment.places(tracker),
        ]:
            log.info(line)
        assert progress.best is not None
        return progress.best

    def _step(
        self,
        experiment: Experiment,
        model: nn.Cell,
        criterion: Criterion,
        compiled: bool,
        world: int,
    ) -> TrainStep:
        groups = parameter_groups(model.get_parameters(), self.head_lr, self.freeze_backbone)
        settings = StepSettings(
            clip_norm=self.clip_norm,
            accumulate=self.accumulate,
            ema_decay=self.ema_decay,
            skip_nonfinite=self.nonfinite == "skip",
            loss_scaling=experiment.config.device.precision == "fp16",
            world=world,
            reusable=experiment.trial is not None,
            jit=compiled,
        )
        return TrainStep(model, criterion, experiment.build("optimizer")(groups), settings)

    def _plan(self, steps_per_epoch: int, learning_rate: float) -> Plan:
        return Plan(
            num_epochs=self.epochs,
            steps_per_epoch=steps_per_epoch,
            learning_rate=learning_rate,
            eval_every=self.eval_every,
            log_every=self.log_every,
            save_every=self.save_every,
            save_minutes=self.save_minutes,
            objective=self.objective,
            early_stop=self.early_stop,
        )


def graph_settings(config: DictConfig, optimizer: nn.Optimizer) -> dict[str, Any]:
    """The settings of a run that its compiled step may depend on: all but those known not to."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    for key in NOT_COMPILED:
        plain.pop(key, None)
    for key in NOT_COMPILED_OF_TASK:
        plain["task"].pop(key, None)
    if hasattr(optimizer, "constants"):  # it says itself what is compiled
        del plain["optimizer"]
    return {str(key): value for key, value in plain.items()}


@contextmanager
def ending_together(ranks: Ranks) -> Iterator[None]:
    """Synchronise the ranks before an error that all of them raise ends the processes.

    msrun kills all ranks as soon as one of them exits with an error code.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, Interrupted) or isinstance(error.__cause__, NonFiniteLoss):
            ranks.any(True)
        raise


def check_splits(
    datasets: Mapping[str, "ClipDataset"], objective: str, problem: Problem, averaged: bool
) -> None:
    """Refuse to train without a `train` split, or for an objective that no split yields.

    Raises:
        UserError: names the available splits or metrics.
    """
    evaluated = [split for split in datasets if split != "train"]
    if "train" not in datasets or not evaluated:
        raise UserError(
            "`dataset.splits` must map `train` and at least one split to evaluate; "
            f"got {', '.join(datasets) or 'none'}."
        )
    suffixes = ("", "_ema") if averaged else ("",)
    known = [f"{s}{x}/{m}" for s in evaluated for x in suffixes for m in problem.metric_names]
    if objective not in known:
        raise UserError(
            f"`task.objective={objective}` is not a metric of this run.{nearest(objective, known)} "
            f"Metrics: {', '.join(known)}."
        )
    split = objective.partition("/")[0]
    if split.removesuffix(AVERAGED).endswith(UNSEEN):
        raise UserError(
            f"`task.objective={objective}` would choose the epoch by recordings of unseen classes; "
            f"use a metric of `{split.removesuffix(AVERAGED).removesuffix(UNSEEN)}`."
        )


def check_augment(augment: Recipe, problem: Problem) -> None:
    """Refuse `augment.mixup` and `augment.splice` for a problem without class labels.

    Raises:
        UserError: names the setting.
    """
    if augment.mixup is not None and not getattr(problem, "mixes_labels", problem.classifies):
        raise UserError(
            "`augment.mixup` mixes class labels, which this `problem` does not have or, with "
            "sentences, cannot mix; set `augment.mixup.probability=0`."
        )
    if augment.splice is not None and not problem.classifies:
        raise UserError(
            "`augment.splice` shows another recording in part of a clip, which only a problem of "
            "class labels can use; set `augment.splice.probability=0`."
        )


def augment_doubts(train_split: "ClipDataset", classes: Sequence[str]) -> list[str]:
    """Possible problems of the augmentations for these recordings, one sentence each."""
    augment = train_split.augment
    filmed = upright.doubts(augment.cameras, train_split.recordings) if augment.cameras else []
    return [*augment.doubts(classes), *filmed]


def few_updates(plan: Plan) -> str | None:
    """A warning for a plan with too few updates to learn much; None for other plans."""
    total = plan.num_epochs * plan.steps_per_epoch
    if total >= FEW_UPDATES:
        return None
    return (
        f"this run makes {total} updates of the weights ({plan.num_epochs} epochs of "
        f"{plan.steps_per_epoch}); with fewer than {FEW_UPDATES}, networks usually learn little: "
        "raise `task.repeat` (passes over the data per epoch) or `task.epochs`, or lower "
        "`task.batch_size`"
    )
