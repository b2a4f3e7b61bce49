"""Continue a run from its checkpoints, or start a run from the weights of another run."""

import json
import logging
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mindspore import Tensor, nn, ops

from flag3d_exp.devices.ranks import Ranks
from flag3d_exp.engine.checkpoint import Checkpoint, load_checkpoint
from flag3d_exp.engine.parameters import assign_parameters
from flag3d_exp.engine.step import TrainStep
from flag3d_exp.engine.train import Progress
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.records import record
from flag3d_exp.reading.settings import selected_value
from flag3d_exp.reading.text import parsed_yaml
from flag3d_exp.runs.begun import check_same_run
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.run_folder import inside

log = logging.getLogger(__name__)

InitHead = Literal["keep", "skip", "auto"]
HEAD = "head."  # names of the classifier's parameters begin with it


def restore(folder: Path, model: nn.Cell, step: TrainStep, meta: Mapping[str, Any]) -> Progress:
    """Load the newest undamaged checkpoint into model and step; return the progress of the run.

    Args:
        meta: of the checkpoints that the run will write now.

    Raises:
        UserError: the run was begun with other data, another model or another objective, the
            checkpoint is from another optimizer or version, or all checkpoints are damaged.
    """
    checkpoint = newest(folder)
    if checkpoint is None:
        return Progress()
    check_same_run(checkpoint.meta, meta, folder)
    try:
        progress = record(Progress, checkpoint.meta.get("progress"))
    except Malformed as error:
        raise UserError(
            f"The checkpoints in `{folder}` are from another version of this program; "
            "`task.init_from` starts a new run from their weights."
        ) from error
    assign_parameters(model.get_parameters(), checkpoint.weights)
    assign_parameters(step.optimizer_state, checkpoint.optimizer)
    assign_parameters(step.ema, {f"ema.{k}": v for k, v in checkpoint.ema.items()})
    log.info("resumed after epoch %d, step %d", progress.epoch, progress.step)
    return progress


def broadcast(ranks: Ranks, model: nn.Cell, step: TrainStep, progress: Progress) -> Progress:
    """Broadcast the first rank's model, step and progress to all ranks; return the progress."""
    for parameter in (*model.get_parameters(), *step.optimizer_state, *step.ema):
        value = parameter.asnumpy()
        content = ranks.broadcast(np.ascontiguousarray(value).tobytes())
        same = np.frombuffer(content, value.dtype).reshape(value.shape)
        ops.assign(parameter, Tensor(same, parameter.dtype))
    content = ranks.broadcast(json.dumps(progress.state()).encode())
    return Progress.from_state(json.loads(content))


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read; None if the folder has none at all."""
    names = [path.name for path in (folder / "checkpoints").glob("last*.npz")]
    found = sorted((inside(folder, "checkpoints", name) for name in names), key=_age)
    refusal: UserError | None = None
    for path in found:
        try:
            return load_checkpoint(path)
        except UserError as error:
            log.warning("%s Trying the previous checkpoint.", error)
            refusal = error
    if refusal is not None:
        raise refusal
    return None


def initialise(
    model: nn.Cell,
    source: str,
    uri: str | None = None,
    head: InitHead = "auto",
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Start from the weights of a checkpoint.

    Args:
        source: a checkpoint file, a run folder (its best checkpoint) or an MLflow run id.
        uri: the MLflow store of the run; None for the default store.
        head: `keep` the checkpoint's head, `skip` it, or `auto`: skip it if its shapes or its
            classes differ.
        meta: of the checkpoints that this run will write.

    Raises:
        UserError: there is no such checkpoint, or it is from another model.
    """
    path = find_checkpoint(source, "task.init_from", uri)
    parameters = list(model.get_parameters())
    with blamed_on("task.init_from"):
        checkpoint = load_checkpoint(path)
        weights = checkpoint.weights
        own = {p.name: tuple(p.shape) for p in parameters if p.name.startswith(HEAD)}
        theirs = {name: w.shape for name, w in weights.items() if name.startswith(HEAD)}
        why = "because of `task.init_head=skip`" if head == "skip" else None
        if head == "auto":
            why = _misfit(theirs, own) or _other_classes(checkpoint.meta, meta or {})
        if why is not None:
            parameters = [p for p in parameters if p.name not in own]
            weights = {name: w for name, w in weights.items() if name not in theirs}
            log.info("the head of %s is left out, %s; it starts from new weights", source, why)
        assign_parameters(parameters, weights)


def _misfit(theirs: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """Which parameter of the head differs, and how; None if none does."""
    differ = [name for name in {**theirs, **own} if theirs.get(name) != own.get(name)]
    if not differ:
        return None
    name = min(differ)
    there, here = theirs.get(name, "absent"), own.get(name, "absent")
    return f"whose shapes differ: `{name}` is {there} there, {here} here"


def _other_classes(theirs: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """The difference between two runs' classes as a clause; None if there is no difference.

    Classes are equal if their names are equal. If neither run names its classes, the names of the
    datasets are compared.
    """
    (name, classes), (own_name, own_classes) = _dataset(theirs), _dataset(own)
    if name is None or own_name is None:  # imported weights name no dataset
        return None
    if classes is None and own_classes is None:
        return None if name == own_name else f"which knows the classes of {name}, not {own_name}"
    pairs = zip_longest(classes or (), own_classes or (), fillvalue="without a name")
    for label, (one, other) in enumerate(pairs):
        if one != other:
            return f"whose classes differ: label {label} is {one} there, {other} here"
    return None


def _dataset(meta: Mapping[str, Any]) -> tuple[str | None, list[str] | None]:
    """The dataset's name in a checkpoint's meta, and its class names; None if missing."""
    try:
        config = parsed_yaml(str(meta.get("config", "")))
    except Malformed:
        return None, None
    name, classes = (
        selected_value(config, "dataset.name"),
        selected_value(config, "dataset.classes"),
    )
    return (
        None if name is None else str(name),
        list(map(str, classes)) if isinstance(classes, list) else None,
    )


def _age(path: Path) -> int:
    """0 for `last`, 1 for `last-1`, ..."""
    age = path.stem.partition("-")[2] or "0"
    return int(age) if age.isdecimal() and len(age) < 10 else 0
