"""Evaluation with every norm made part of the convolution before it, and weights laid out once.

On a CPU, where every pass over memory counts, that saves the pass of the norm and the copies of the
weights. It is done once per evaluation, in a copy of the network, so that no forward pass has to do
it and training sees nothing of it.
"""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from flag3d_exp.models.layers import EPSILON, Multiplying, Normalised

MAX_KEPT = 16  # copies of each weight, which take memory between the passes, too


def with_norms_folded(model: nn.Cell) -> nn.Cell:
    """A copy, to be given weights by `take_weights`; the model itself where nothing can be folded.

    That is on other devices than a CPU, and in half precision, which wraps the model's construct.
    """
    if hasattr(model, "amp_strategy") or not any(True for _ in _to_fold(model)):
        return model
    # `Cell.recompute` wraps the cell's construct: a copy would call the original's, and MindSpore
    # keeps what such a cell was given until a gradient is asked for, which evaluation never does.
    wrappers = [cell._recompute_cell for _, cell in model.cells_and_names()]
    copy = deepcopy(model, {id(wrapper): None for wrapper in wrappers if wrapper is not None})
    for prefix, cell in list(_to_fold(copy)):
        cell.folded = True
        cell.conv.shift = Parameter(np.zeros_like(cell.norm.bias), name=f"{prefix}conv.shift")
    return copy


def take_weights(copy: nn.Cell, model: nn.Cell) -> None:
    """Give a copy that `with_norms_folded` made the weights which the model has now."""
    if copy is model:
        return
    values = {name: parameter.asnumpy() for name, parameter in model.parameters_and_names()}
    for prefix, cell in _to_fold(model):
        norm = cell.norm
        scale = norm.weight.asnumpy() / np.sqrt(norm.running_var.asnumpy() + EPSILON)
        bias = cell.conv.channel_bias()
        bias = 0 if bias is None else bias.asnumpy()
        shift = norm.bias.asnumpy() + (bias - norm.running_mean.asnumpy()) * scale
        values[f"{prefix}conv.shift"] = shift
        for name in (f"{prefix}conv.weight", f"{prefix}conv.bias"):
            if name in values:
                values[name] = _scaled(values[name], scale)
    for name, parameter in copy.parameters_and_names():
        if name in values:
            ops.assign(parameter, Tensor(values[name], parameter.dtype))


def keep_weights(copy: nn.Cell, model: nn.Cell, num_inputs: int) -> None:
    """Lay the weights of the copy out for passes of `num_inputs` clips times persons.

    Passes of other sizes stay right, but lay them out themselves.
    """
    if copy is model or num_inputs > MAX_KEPT:
        return
    for _, cell in copy.cells_and_names():
        if isinstance(cell, Multiplying):
            cell.keep(num_inputs)


def _to_fold(model: nn.Cell) -> Iterator[tuple[str, Normalised]]:
    """The cells that hold a convolution and its norm, and what their parameters are named after."""
    for name, cell in model.cells_and_names():
        if isinstance(cell, Normalised) and not cell.norm.native:
            yield f"{name}." if name else "", cell


def _scaled(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """values (K * C, ...) times scale (C,), which each of K subsets is multiplied with."""
    scale = np.tile(scale, len(values) // len(scale))
    return values * scale.reshape(-1, *[1] * (values.ndim - 1))
