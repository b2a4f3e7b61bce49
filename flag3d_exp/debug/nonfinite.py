"""`debug=nonfinite`: find the layer and the recordings that made a number that is not finite.

Training runs as usual until a loss or a weight is not finite. Then this update is undone and
repeated layer by layer, uncompiled, until the first output or gradient that is not finite.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from flag3d_exp.debug.updates import Update
from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.engine.step import MicroBatch, TrainStep, loss_function
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npz_arrays

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FirstNonFinite:
    """Find the first number that is not finite.

    Args:
        batch: the file `nonfinite_step_<n>.npz` of a run, to check only this batch; None to train
            until the loss or a weight is not finite.
    """

    batch: str | None = None

    def __call__(self, step: TrainStep, updates: Iterator[Update]) -> None:
        """Search, and log the result."""
        if self.batch is not None:
            found = cause(step, saved_update(Path(self.batch)))
            log.info("%s: %s", self.batch, found or "every output and gradient is finite.")
            return
        parameters = [*step.model.get_parameters(), *step.optimizer_state]
        number = 0
        for update in updates:
            number = update.number
            before = parameter_values(parameters)
            loss, _ = step(update.batches, update.factor)
            value = float(loss.asnumpy())
            spoilt = [p.name for p in parameters if not np.isfinite(p.asnumpy()).all()]
            if np.isfinite(value) and not spoilt:
                continue
            log.info(
                "update %d: loss %g, not finite after it: %s", number, value, listed_names(spoilt)
            )
            assign_parameters(parameters, before)
            log.info(
                cause(step, update)
                or "Uncompiled, outputs and gradients are finite: the optimizer's step overflows "
                "(a lower `optimizer.lr`?), or a compiled kernel does (`device.jit=false` shows)."
            )
            return
        log.info("Loss and weights are finite in all updates; the last update was %d.", number)


def cause(step: TrainStep, update: Update) -> str | None:
    """The first value that is not finite, as a sentence; None if all visible values are finite."""
    for parameter in step.model.get_parameters():
        if not np.isfinite(parameter.asnumpy()).all():
            return f"The weights before it are not finite, first `{parameter.name}`."
    start = 0
    for batch in update.batches:
        names = update.names[start : start + len(batch)]
        start += len(names)
        for name, array in batch.inputs.items():
            if not np.isfinite(array).all():
                return f"The {name} are not finite in {recordings_of(array, names)}."
        found = first_in_network(step.model, step.criterion, batch, names)
        if found is not None:
            return found
    return None


def first_in_network(
    model: nn.Cell, criterion: Any, batch: MicroBatch, names: Sequence[str]
) -> str | None:
    """The first layer whose output, or else whose gradient, is not finite; runs uncompiled."""
    found: list[str] = []

    def look(cell: nn.Cell, what: str, values: Any, inputs: Any) -> None:
        for array in arrays(values):
            if not found and not np.isfinite(array).all():
                reach = max((np.abs(x).max(initial=0) for x in arrays(inputs)), default=0)
                found.append(
                    f"First not finite: the {what} of {layers[id(cell)]}, "
                    f"{np.count_nonzero(~np.isfinite(array))} of {array.size} numbers, "
                    f"in {recordings_of(array, names)}; the largest absolute input is {reach:.3g}."
                )

    def forward_hook(cell: nn.Cell, inputs: Any, output: Any) -> None:
        look(cell, "output", output, inputs)

    def backward_hook(cell: nn.Cell, to_inputs: Any, to_output: Any) -> None:
        look(cell, "gradient at the input", to_inputs, to_output)

    layers, handles = {}, []
    for name, cell in (*model.cells_and_names(), ("loss", criterion)):
        layers[id(cell)] = f"`{name or 'model'}` ({type(cell).__name__})"
        handles.append(cell.register_forward_hook(forward_hook))
        handles.append(cell.register_backward_hook(backward_hook))

    whole_loss = loss_function(model, criterion, len(batch.inputs))

    def forward(*arrays):
        return whole_loss(*arrays)[0]

    weights = model.trainable_params()
    of_inputs: Any = None
    with_gradients: Any = ms.value_and_grad(forward, of_inputs, weights)
    model.set_train(True)
    _, gradients = with_gradients(*batch.tensors())
    for handle in handles:
        handle.remove()
    for weight, gradient in zip(weights, gradients, strict=True):
        if not found and not np.isfinite(gradient.asnumpy()).all():
            found.append(f"First not finite: the gradient of the weight `{weight.name}`.")
    return found[0] if found else None


def arrays(values: Any) -> list[np.ndarray]:
    """The floating-point arrays among a cell's inputs, outputs or gradients."""
    together = values if isinstance(values, (tuple, list)) else [values]
    found = [value.asnumpy() for value in together if isinstance(value, Tensor)]
    return [array for array in found if np.issubdtype(array.dtype, np.floating)]


def recordings_of(array: np.ndarray, names: Sequence[str]) -> str:
    """The recordings whose part of `array` is not finite; its first axis is the batch.

    Layers fold persons and frames into the batch, (N * M, ...), so the rows of a recording are
    consecutive. An array that can't be divided into N parts belongs to all recordings.
    """
    if array.size % len(names):
        return "all recordings"
    finite = np.isfinite(array).reshape(len(names), -1).all(1)
    return listed_names(
        [name for name, is_finite in zip(names, finite, strict=True) if not is_finite]
    )


def listed_names(names: Sequence[str]) -> str:
    """The first few names, and the number of further names."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return (", ".join(names[:4]) or "nothing") + more


def saved_update(path: Path) -> Update:
    """The batch of a non-finite loss that a run has saved.

    Raises:
        UserError: the file is missing or does not hold such a batch.
    """
    try:
        kept = npz_arrays(path)
        clips, labels, names = kept["clips"], kept["labels"], kept["names"]
        counts = {len(clips), len(labels), len(names)}
        if clips.ndim < 2 or len(counts) > 1 or (clips.dtype.kind, labels.dtype.kind) != ("f", "i"):
            raise Malformed(f"it holds clips of shape {clips.shape} for {labels.shape} labels")
    except (Malformed, FileNotFoundError, KeyError, TypeError) as error:
        raise UserError(
            f"`task.debug.batch={path}` is not a nonfinite_step_<n>.npz of a run ({error})."
        ) from error
    names = [str(name) for name in names]
    batch = MicroBatch({"keypoints": clips[:, 0]}, {"label": labels.astype(np.int32)})
    return Update(0, [batch], 1.0, names)
