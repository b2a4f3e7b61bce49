"""Fold batch norms into the preceding convolutions for evaluation, and tile weights only once.

Inference on a CPU is limited by memory bandwidth. Folding saves the pass over memory for the norm
and the copies of the weights. It replaces convolutions and norms in a copy of the network, so
training is not affected.

Sizes: N clips times persons, C channels, K neighbour subsets.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from flag3d_exp.mindspore_adapter import copy_model, in_mixed_precision
from flag3d_exp.models.graph import GraphConv, graph_product, spread_over
from flag3d_exp.models.kernels import kernels, native
from flag3d_exp.models.kernels.products import channel_product, repeated_weight
from flag3d_exp.models.layers import EPSILON, BatchNorm, Conv, SyncBatchNorm, set_child

MAX_KEPT = 16  # copies of each weight, which stay in memory between passes


class LaidOut(nn.Cell):
    """A weight matrix (O, C) and its copies, one for each clip of a pass; no copies of others."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.matrix = Parameter(np.zeros(shape, np.float32), name="matrix", requires_grad=False)
        self.copies = None

    def of(self, count):
        """(count, O, C) if that many copies are kept, else the weights (O, C) or (O, C, ...)."""
        kept = self.copies is not None and self.copies.shape[0] == count
        return self.copies if kept else self.matrix

    def take(self, matrix: Any) -> None:
        """Replace the weights; the copies are out of date until `keep` is called."""
        ops.assign(self.matrix, Tensor(matrix))

    def keep(self, count: int) -> None:
        """Make the copies for passes of `count` clips."""
        if self.matrix.ndim != 2:
            return
        copies = repeated_weight(self.matrix, count)
        if self.copies is None or self.copies.shape != copies.shape:
            self.copies = Parameter(copies, name=f"{self.matrix.name}.copies", requires_grad=False)
        else:
            ops.assign(self.copies, copies)


class FoldedConv(nn.Cell):
    """A `Conv` with tiled weights, including the norm and the ReLU after it if there are such."""

    def __init__(self, conv: Conv, relu: bool):
        super().__init__()
        self.shape, self.stride, self.dilation = conv.weight.shape, conv.stride, conv.dilation
        table = kernels()
        self.arranged, self.conv2d = table.arranged_weight, table.conv2d_arranged
        self.weight = LaidOut(self.arranged(conv.weight, conv.stride, conv.dilation).shape)
        self.bias = Parameter(np.zeros(self.shape[0], np.float32), name="bias")
        self.relu, self.relu_of_biased = relu, table.relu_of_biased

    def construct(self, x):
        weight, bias = self.weight.of(x.shape[0]), None if self.relu else self.bias
        out = self.conv2d(x, weight, self.shape, bias, self.stride, self.dilation, False)
        return self.relu_of_biased(out, self.bias) if self.relu else out

    def channel_bias(self):
        """None: the convolution adds it."""

    def take(self, conv: Conv, norm: BatchNorm | None) -> None:
        """Replace the weights by those of the convolution and the norm."""
        scale, shift = scale_and_shift(norm, conv.channel_bias(), self.shape[0])
        weight = Tensor(scaled_weight(conv.weight.asnumpy(), scale))
        self.weight.take(self.arranged(weight, self.stride, self.dilation).asnumpy())
        ops.assign(self.bias, Tensor(shift))


class FoldedGraphConv(nn.Cell):
    """A `GraphConv` with tiled weights, including the norm after it, and its ReLU."""

    def __init__(self, conv: GraphConv, relu: bool):
        super().__init__()
        self.num_subsets, self.spread_bias = conv.num_subsets, conv.spread_bias
        self.add = kernels().relu_of_sum if relu else kernels().sum_with_each
        self.add_bias = bias_adder(relu)
        self.weight = LaidOut(conv.matrix().shape)
        width = conv.weight.shape[0]
        self.subset_biases = Parameter(
            np.zeros((conv.num_subsets, width // conv.num_subsets), np.float32), name="biases"
        )
        self.bias = Parameter(np.zeros(width // conv.num_subsets, np.float32), name="bias")

    def construct(self, x, adjacency):
        n, _, t, v = x.shape
        x = graph_product(x, adjacency).reshape(n, -1, t * v)
        x = channel_product(self.weight.of(n), x).reshape(n, -1, t, v)
        if not self.spread_bias:
            return self.add_bias(x, self.bias)
        spread = ops.matmul(self.subset_biases.T, adjacency.sum(-2)) + self.bias.reshape(-1, 1)
        return self.add(x, spread_over(spread, t))

    def channel_bias(self):
        """None: the convolution adds it."""

    def take(self, conv: GraphConv, norm: BatchNorm) -> None:
        """Replace the weights by those of the convolution and the norm."""
        scale, shift = scale_and_shift(norm, conv.channel_bias(), self.bias.shape[0])
        self.weight.take(scaled_weight(conv.matrix().asnumpy(), scale))
        ops.assign(self.subset_biases, Tensor(conv.subset_biases().asnumpy() * scale))
        ops.assign(self.bias, Tensor(shift))


class ScaledConv(nn.Cell):
    """A copy of another convolution whose bias a norm adds, including that norm and its ReLU.

    Its weight is (K * C, ...), its output (N, C, H, W).
    """

    def __init__(self, conv: nn.Cell, num_channels: int, relu: bool):
        super().__init__()
        self.conv = conv
        self.add_bias = bias_adder(relu)
        self.bias = Parameter(np.zeros(num_channels, np.float32), name="bias")

    def construct(self, *inputs):
        return self.add_bias(self.conv(*inputs), self.bias)

    def channel_bias(self):
        """None: the convolution adds it."""

    def take(self, conv: Any, norm: BatchNorm) -> None:
        """Replace the weights by those of the convolution and the norm."""
        scale, shift = scale_and_shift(norm, conv.channel_bias(), self.bias.shape[0])
        scale = np.tile(scale, conv.weight.shape[0] // len(scale))
        own: Any = self.conv
        ops.assign(own.weight, Tensor(scaled_weight(conv.weight.asnumpy(), scale)))
        ops.assign(self.bias, Tensor(shift))


class NoNorm(nn.Cell):
    """Identity in place of a norm that is folded into the convolution before it."""

    def construct(self, x, bias=None):
        """x, unchanged."""
        return x


class FoldedCopy:
    """A folded copy of a model for evaluation.

    It is the model itself if nothing can be folded: on devices other than a CPU, and in half
    precision, which wraps the model's construct.

    Attributes:
        network: the copy.
    """

    def __init__(self, model: nn.Cell):
        self.model = self.network = model
        self._folded: list[tuple[Any, Any, Any]] = []  # cell of the copy, its convolution and norm
        if kernels() is not native and not in_mixed_precision(model) and any(_to_fold(model)):
            self.network = self._copy()

    def _copy(self) -> nn.Cell:
        copy = copy_model(self.model)
        for (parent, name), (own, _) in zip(
            _to_fold(self.model), list(_to_fold(copy)), strict=True
        ):
            conv, norm = child(parent, name), None
            if is_pair(parent):
                norm = parent.norm
                own.norm = NoNorm()
            folded = folded_cell(conv, child(own, name), norm)
            set_child(own, name, folded)
            self._folded.append((folded, conv, norm))
        for place, parameter in copy.parameters_and_names():
            parameter.name = place
        return copy

    def take_weights(self) -> None:
        """Update the copy with the model's current weights."""
        if self.network is self.model:
            return
        values = dict(self.model.parameters_and_names())
        for folded, conv, norm in self._folded:
            folded.take(conv, norm)
        own = {id(p) for folded, _, _ in self._folded for p in folded.get_parameters()}
        for name, parameter in self.network.parameters_and_names():
            if id(parameter) not in own:
                ops.assign(parameter, values[name])

    def keep_weights(self, num_inputs: int) -> None:
        """Tile the copy's weights for passes of `num_inputs` clips times persons.

        Passes of other sizes are correct too, but tile the weights each time.
        """
        if self.network is self.model or num_inputs > MAX_KEPT:
            return
        for _, cell in self.network.cells_and_names():
            if isinstance(cell, LaidOut):
                cell.keep(num_inputs)


def is_pair(cell: Any) -> bool:
    """Whether the cell's `norm` is a `BatchNorm` directly after its `conv`, as its class states."""
    follows = getattr(cell, "norm_follows_conv", False)
    return follows and isinstance(cell.norm, (BatchNorm, SyncBatchNorm))


def folded_cell(conv: Any, copied: nn.Cell, norm: Any) -> Any:
    """The cell that replaces a convolution and the norm after it.

    Args:
        copied: the same convolution in the copy.
    """
    relu = norm is not None and norm.relu
    if isinstance(conv, Conv):
        return FoldedConv(conv, relu)
    if isinstance(conv, GraphConv):
        return FoldedGraphConv(conv, relu)
    return ScaledConv(copied, norm.weight.shape[0], relu)


def child(cell: Any, name: str) -> Any:
    """The child cell with this name."""
    return cell[int(name)] if isinstance(cell, nn.CellList) else getattr(cell, name)


def _to_fold(model: nn.Cell) -> Iterator[tuple[Any, str]]:
    """(parent cell, name) of each convolution that can be folded."""
    for _, cell in model.cells_and_names():
        for name, found in cell.name_cells().items():
            if type(found) is Conv or (is_pair(cell) and name == "conv"):
                yield cell, name


def bias_adder(relu: bool) -> Any:
    """(x (N, C, ...), bias (C,)) -> their sum, or its ReLU."""
    return kernels().relu_of_biased if relu else ops.bias_add


def scale_and_shift(
    norm: BatchNorm | None, bias: Any, num_channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """(C,) factors and (C,) shifts of a convolution's channels that have the effect of the norm.

    Args:
        bias: (C,) of the convolution, or None.
    """
    bias = np.zeros(num_channels, np.float32) if bias is None else bias.asnumpy()
    if norm is None:
        return np.ones(num_channels, np.float32), bias
    scale = norm.weight.asnumpy() / np.sqrt(norm.running_var.asnumpy() + EPSILON)
    return scale, norm.bias.asnumpy() + (bias - norm.running_mean.asnumpy()) * scale


def scaled_weight(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """weight (C, ...) times scale (C,)."""
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
