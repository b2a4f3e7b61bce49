"""`task=adapt`: fit a checkpoint to the recordings of a target split, without their labels.

The result is transductive: the network has seen the inputs that it is evaluated on. All reports of
its figures say so. Choose settings on the validation split of the source, never on the target.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from mindspore import nn

from flag3d_exp import bounds, console
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model, trained_batch_size
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.loader import batches
from flag3d_exp.engine.adapt.statistics import Load, compiled_pass, tensors
from flag3d_exp.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.engine.parameters import parameter_values
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.problems.problem import Problem, split_metrics
from flag3d_exp.report.run_figures import publish_predictions
from flag3d_exp.results.evaluation import gap_metrics
from flag3d_exp.runs import record
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.run_folder import inside, save_metrics, save_predictions
from flag3d_exp.runs.session import Evaluator, forward_passes
from flag3d_exp.runs.transductive import KEY, note_transductive

log = logging.getLogger(__name__)
FEWEST = 32  # recordings of a target; statistics of fewer are unreliable
Method = Callable[[nn.Cell, Load, bool], Iterator[dict[str, float]]]


@dataclass(frozen=True)
class Adapt:
    """Settings of `task=adapt`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best checkpoint) or an MLflow run id.
        split: the target: a split of the dataset; its labels are used only for the report.
        method: the adaptation method, of `engine.adapt`.
        online: predict each batch as soon as the network has adapted to it and to earlier batches,
            as if recordings arrived one after the other; otherwise predict all of them at the end.
        batch_size: clips per batch; statistics of fewer than 64 are noisy.
        num_workers: threads that prepare clips.
    """

    checkpoint: str
    split: str
    method: Any
    online: bool = False
    batch_size: Annotated[int, ">= 2, <= 65536"] = 64
    num_workers: Annotated[int, ">= 1"] = 1

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        if self.online and getattr(self.method, "epochs", 1) != 1:
            raise UserError(
                "`task.online=true` takes every batch once; set `task.method.epochs=1`."
            )

    def __call__(self, experiment: Experiment) -> float | None:
        """Adapt and evaluate; return the top-1 of the target in percent."""
        folder = experiment.folder
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        splits = [split for split in experiment.splits if split != "train"]
        check_target(self.split, splits)
        device, device_name = experiment.device()
        datasets = experiment.datasets(splits)
        target = datasets[self.split]
        named = dict(experiment.config.dataset.splits)
        check_untouched(self.split, {s: d.names for s, d in datasets.items()}, named)
        if len(target) < FEWEST:
            raise UserError(
                f"`task.split={self.split}` has {len(target)} recordings; adapting takes at least "
                f"{FEWEST}."
            )
        problem = experiment.classification("adapt")
        model = restored_model(experiment, checkpoint, datasets.values())
        jit = device.compiles(forward_passes([target], self.batch_size))
        size = trained_batch_size(checkpoint)
        log.info(experiment.header(device_name, model, datasets))
        with (
            experiment.track(device_name, datasets) as tracker,
            console.progress_bar() as bar,
            StopRequest() as stop,
        ):
            evaluator = Evaluator(
                problem, Predictor(model, jit), size, self.num_workers, stop=stop, bar=bar
            )
            before = problem.metrics(*evaluator.predictions(self.split, target))
            metrics = split_metrics(f"{self.split}_before", before)
            arrived = self._adapt(model, problem, target, jit, stop)
            for split, dataset in datasets.items():
                found, targets = evaluator.predictions(split, dataset)
                if split == self.split and arrived is not None:
                    found = arrived
                save_predictions(
                    folder, split, dataset.names, problem.arrays_to_save(found, targets)
                )
                metrics |= split_metrics(split, problem.metrics(found, targets))
            metrics |= gap_metrics(metrics)
            meta = experiment.meta | {"data": target.digest, KEY: self._note(target)}
            meta["scored"] = bool(checkpoint.meta.get("scored"))
            adapted = Checkpoint(parameter_values(model.get_parameters()), meta=meta)
            save_checkpoint(inside(folder, "checkpoints", "best.npz"), adapted)
            note_transductive(folder, meta, tracker)
            tracker.log_report(record.final_report(metrics))
            tracker.log_artifact(save_metrics(folder, metrics))
            tracker.log_artifact(folder / "checkpoints" / "best.npz", "checkpoints")
            publish_predictions(folder, experiment.classes, tracker)
        for line in [
            *console.summary_lines(metrics, list(datasets), problem.metric_names),
            f"{self.split} (transductive): top-1 before adapting {before['top1']:.2f} %",
            *experiment.places(tracker),
        ]:
            log.info(line)
        return metrics[f"{self.split}/top1"]

    def _adapt(
        self, model: nn.Cell, problem: Problem, target: ClipDataset, jit: bool, stop: StopRequest
    ) -> np.ndarray | None:
        """Adapt the model; with `online`, return the scores of the recordings."""
        per_batch = max(1, self.batch_size // len(target.clips(0)))
        load = target_batches(target, problem, per_batch, self.num_workers)
        forward = compiled_pass(model, jit)
        arrived, started = [], list(load(0)) if self.online else []
        method: Method = self.method
        for number, measured in enumerate(method(model, load, jit)):
            stop.check()
            if number % 10 == 0:
                told = "  ".join(f"{name} {value:.4g}" for name, value in measured.items())
                log.info("batch %d  %s", number + 1, told)
            if self.online:
                outputs = forward(*tensors(started[number])).asnumpy()
                outputs = outputs.reshape(per_batch, -1, *outputs.shape[1:])
                arrived.append(problem.predictions(outputs, np.empty(0)))
        return np.concatenate(arrived)[: len(target)] if arrived else None

    def _note(self, target: ClipDataset) -> dict[str, Any]:
        """The record of the adaptation, which marks the run as transductive."""
        return {
            "split": self.split,
            "recordings": len(target),
            "method": type(self.method).__name__,
            "online": self.online,
        }


def target_batches(target: ClipDataset, problem: Problem, per_batch: int, num_workers: int) -> Load:
    """(pass) -> the network's inputs of all test clips in the order of the recordings.

    The last batch is filled up with the first recordings, so that all batches have the same size.
    """
    num_batches = -(-len(target) // per_batch)
    draws = np.resize(np.arange(len(target)), num_batches * per_batch)
    tests = replace(target, training=False)

    def load(number: int) -> Iterator[Mapping[str, np.ndarray]]:
        for batch in batches(tests, draws, per_batch, num_workers):
            yield problem.test_inputs(batch.clips.reshape(-1, *batch.clips.shape[2:]), {})

    return load


def check_untouched(
    target: str, names: Mapping[str, Sequence[str]], splits: Mapping[str, str]
) -> None:
    """Refuse a target whose recordings are also in a split that reports call untouched.

    Args:
        names: of the recordings of each evaluated split.
        splits: their names in the file, including `train`.

    Raises:
        UserError: names the other split.
    """
    if splits.get("train") == splits[target]:
        raise UserError(f"`task.split={target}` is the split that the network was trained on.")
    for split, others in names.items():
        shared = set(names[target]) & set(others) if split != target else set()
        if shared:
            raise UserError(
                f"`task.split={target}` shares {len(shared)} recordings with {split!r}, such as "
                f"{min(shared)!r}, which reports would call untouched by adapting; leave that "
                f"split out by `~dataset.splits.{split}`."
            )


def check_target(split: str, splits: list[str]) -> None:
    """Refuse a target that is not an evaluated split.

    Raises:
        UserError: names the available splits.
    """
    if split == "train":
        raise UserError(
            "`task.split=train` is the split that the network was trained on; adapt it to one of "
            f"{', '.join(splits)}."
        )
    if split not in splits:
        raise UserError(
            f"`task.split` must be one of `dataset.splits`, {', '.join(splits)}; got {split!r}."
            f"{nearest(split, splits)}"
        )
