"""Layers that several models share.

Sizes: N clips, M persons, C channels, T frames, V joints, K neighbour subsets. Images are
(N, C, H, W); in graph models H is the frame and W the joint, and N counts clips times persons.
Convolutions on a CPU are written as matrix products, which MindSpore's CPU kernels do far faster;
other devices use their native kernels on the same weights.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Initializer, Normal, initializer

from flag3d_exp.errors import UserError

EPSILON = 1e-5  # of batch norm
MOMENTUM = 0.1  # weight of the newest batch in batch norm's running statistics


class Conv(nn.Cell):
    """Convolution of (N, C, H, W), padded so that stride 1 keeps the size.

    Args:
        init: of the weight; None: Kaiming normal by fan-out.
        native: use the device's convolution instead of the matrix product; None: unless on a CPU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        bias: bool = True,
        init: Initializer | Tensor | str | None = None,
        native: bool | None = None,
    ):
        super().__init__()
        shape = (out_channels, in_channels, *kernel)
        init = HeNormal(mode="fan_out") if init is None else init
        self.weight = Parameter(initializer(init, shape), name="weight")
        self.bias = Parameter(initializer("zeros", out_channels), name="bias") if bias else None
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.padding = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True))
        self.native = native_kernels() if native is None else native

    def construct(self, x):
        if self.native:
            return ops.conv2d(
                x, self.weight, self.bias, self.stride, "pad", self.padding, self.dilation
            )
        n, c, h, w = x.shape
        out_h = (h + 2 * self.padding[0] - self.dilation[0] * (self.kernel[0] - 1) - 1) // (
            self.stride[0]
        ) + 1
        out_w = (w + 2 * self.padding[1] - self.dilation[1] * (self.kernel[1] - 1) - 1) // (
            self.stride[1]
        ) + 1
        if self.kernel == (1, 1) and self.stride == (1, 1):
            columns = x.reshape(n, c, h * w)
        else:
            columns = ops.unfold(x, self.kernel, self.dilation, self.padding, self.stride)
        weight = self.weight.reshape(self.weight.shape[0], -1)
        return channel_product(weight, columns, self.bias).reshape(n, -1, out_h, out_w)

    def multiply_adds(self, _x, out):
        """Of one pass, given the shapes of input and output."""
        return prod(out) * self.weight.size // self.weight.shape[0]


class BatchNorm(nn.Cell):
    """Batch norm of (N, C, H, W) per channel.

    Not `nn.BatchNorm2d`, whose parameters `gamma` and `beta` MindSpore's optimizers leave out of
    weight decay by name. The running variance is the unbiased one, as in PyTorch.
    """

    def __init__(self, num_channels: int, scale: float = 1.0):
        super().__init__()
        self.weight = Parameter(np.full(num_channels, scale, np.float32), name="weight")
        self.bias = Parameter(np.zeros(num_channels, np.float32), name="bias")
        self.running_mean = Parameter(
            np.zeros(num_channels, np.float32), name="running_mean", requires_grad=False
        )
        self.running_var = Parameter(
            np.ones(num_channels, np.float32), name="running_var", requires_grad=False
        )
        self.batch_norm = ops.BatchNorm(is_training=True, epsilon=EPSILON, momentum=MOMENTUM)
        self.running_norm = ops.BatchNorm(is_training=False, epsilon=EPSILON)
        self.world = 1

    def construct(self, x):
        if self.training and self.world > 1:
            return self._synchronised(x)
        norm = self.batch_norm if self.training else self.running_norm
        return norm(x, self.weight, self.bias, self.running_mean, self.running_var)[0]

    def _synchronised(self, x):
        """Batch norm over the batches of all ranks, whose sizes must be equal."""
        channels = (1, -1, 1, 1)
        total: Any = ops.AllReduce()
        share = 1.0 / self.world
        x = x.astype(ms.float32)
        mean = total(x.mean((0, 2, 3))) * share
        centred = x - mean.reshape(channels)
        variance = total((centred * centred).mean((0, 2, 3))) * share
        count = self.world * x.size // x.shape[1]
        unbiased = variance * (count / (count - 1))
        ops.assign(self.running_mean, self.running_mean * (1 - MOMENTUM) + mean * MOMENTUM)
        ops.assign(self.running_var, self.running_var * (1 - MOMENTUM) + unbiased * MOMENTUM)
        scale = self.weight * ops.rsqrt(variance + EPSILON)
        return centred * scale.reshape(channels) + self.bias.reshape(channels)


def synchronise(model: nn.Cell, world: int) -> None:
    """Make every batch norm of the model use the statistics of all ranks' batches."""
    for _, cell in model.cells_and_names():
        if isinstance(cell, BatchNorm):
            cell.world = world


class ConvNorm(nn.Cell):
    """Convolution, then batch norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        bias: bool = True,
        init: Initializer | Tensor | str | None = None,
    ):
        super().__init__()
        self.conv = Conv(in_channels, out_channels, kernel, stride, dilation, bias, init)
        self.norm = BatchNorm(out_channels)

    def construct(self, x):
        return self.norm(self.conv(x))


class GraphConv(nn.Cell):
    """Sum over the neighbour subsets of a 1x1 convolution each.

    Args:
        spread_bias: add each subset's bias before its graph product, so that the adjacency
            weighs it (ST-GCN), not after.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_subsets: int,
        spread_bias: bool = False,
        init: Initializer | None = None,
    ):
        super().__init__()
        shape = (num_subsets * out_channels, in_channels, 1, 1)
        self.weight = Parameter(initializer(init or HeNormal(mode="fan_out"), shape), name="weight")
        self.bias = Parameter(initializer("zeros", num_subsets * out_channels), name="bias")
        self.num_subsets, self.spread_bias = num_subsets, spread_bias

    def construct(self, x, adjacency):
        """x: (N, C, T, V); adjacency: K matrices (V, V) or, without `spread_bias`, (N, V, V)."""
        n, c, t, v = x.shape
        k = self.num_subsets
        weight = self.weight.reshape(k, -1, c).transpose(1, 0, 2).reshape(-1, k * c)
        bias = self.bias.reshape(k, -1)
        spread = self.spread_bias
        x = graph_product(x, adjacency).reshape(n, k * c, t * v)
        x = channel_product(weight, x, None if spread else bias.sum(0)).reshape(n, -1, t, v)
        if spread:
            received = ops.stack([matrix.sum(-2) for matrix in adjacency])  # (K, V)
            x = x + ops.matmul(bias.T, received).reshape(1, -1, 1, v)
        return x

    def multiply_adds(self, x, out):
        """Of one pass, given the shapes of input and output."""
        return self.num_subsets * (prod(x) * x[3] + prod(out) * x[1])


class Block(nn.Cell):
    """Graph unit, then temporal unit, plus the input; (N, C, T, V) in and out.

    The first block of a network has no residual. The residual is a strided 1x1 convolution where
    the shape changes.
    """

    def __init__(
        self,
        graph: nn.Cell,
        temporal: nn.Cell,
        in_channels: int,
        out_channels: int,
        stride: int,
        residual: bool,
    ):
        super().__init__()
        self.graph = graph
        self.temporal = temporal
        self.residual = residual
        self.shortcut = None
        if residual and (in_channels != out_channels or stride != 1):
            self.shortcut = ConvNorm(in_channels, out_channels, stride=(stride, 1))

    def construct(self, x):
        out = self.temporal(self.graph(x))
        if self.residual:
            out = out + (x if self.shortcut is None else self.shortcut(x))
        return ops.relu(out)


class KeypointNorm(nn.Cell):
    """Batch norm of every coordinate over clips and frames; persons become clips.

    (N, M, T, V, C) -> (N * M, C, T, V). With `num_persons` above 1, each person has its own.
    """

    def __init__(self, num_joints: int, num_channels: int, num_persons: int = 1):
        super().__init__()
        self.norm = BatchNorm(num_persons * num_joints * num_channels)
        self.num_persons = num_persons

    def construct(self, keypoints):
        n, m, t, v, c = keypoints.shape
        x = keypoints.transpose(0, 1, 3, 4, 2)  # (N, M, V, C, T)
        x = self.norm(x.reshape(n * m // self.num_persons, self.num_persons * v * c, t, 1))
        return x.reshape(n * m, v, c, t).transpose(0, 2, 3, 1)  # (N * M, C, T, V)


class Head(nn.Cell):
    """Mean over the plane, then over persons or frames; dropout mask; one dense layer."""

    def __init__(self, num_features: int, num_classes: int):
        super().__init__()
        self.weight = Parameter(
            initializer(Normal(0.01), (num_classes, num_features)), name="weight"
        )
        self.bias = Parameter(initializer("zeros", num_classes), name="bias")

    def construct(self, x, num_clips, dropout_mask=None):
        """x: (N * anything, C, H, W) -> logits (N, num_classes)."""
        features = x.mean((2, 3)).reshape(num_clips, -1, x.shape[1]).mean(1)  # (N, C)
        if dropout_mask is not None:
            features = features * dropout_mask
        return ops.matmul(features, self.weight.T) + self.bias

    def multiply_adds(self, _x, out):
        """Of one pass, given the shapes of input and output."""
        return out[0] * self.weight.size


def channel_product(weight, x, bias=None):
    """weight (O, C) times x (N, C, L), plus bias (O,): (N, O, L)."""
    weight = ops.tile(weight.expand_dims(0), (x.shape[0], 1, 1))  # copies are cheaper than matmul's
    x = ops.bmm(weight, x)
    return x if bias is None else ops.bias_add(x, bias)


def graph_product(x, adjacency):
    """x (N, C, T, V) times each of K matrices (V, V) or (N, V, V): (N, K * C, T, V)."""
    n, c, t, v = x.shape
    if adjacency[0].ndim == 2:
        rows = x.reshape(n * c * t, v)
        products = [ops.matmul(rows, matrix).reshape(n, c, t, v) for matrix in adjacency]
    else:
        rows = x.reshape(n, c * t, v)
        products = [ops.bmm(rows, matrix).reshape(n, c, t, v) for matrix in adjacency]
    return ops.concat(products, 1)


def sum_of_subsets(x):
    """(N, K, ...) -> (N, ...). Adding slices takes half the time of a reduction on a CPU."""
    first, *others = ops.unbind(x, 1)
    for other in others:
        first = first + other
    return first


def tanh(x):
    """Hyperbolic tangent. MindSpore's own is off by up to 1e-4 on a CPU."""
    return 2 * ops.sigmoid(2 * x) - 1


def stacked_init(widths: Sequence[int], in_channels: int) -> Tensor:
    """(sum of widths, C, 1, 1): weights of convolutions that are computed as one, side by side.

    Kaiming normal by the fan-out of each.
    """
    kaiming = HeNormal(mode="fan_out")
    return ops.concat([initializer(kaiming, (n, in_channels, 1, 1)).init_data() for n in widths])


def native_kernels() -> bool:
    """Whether the device's own convolution kernels are the fast ones: anywhere but on a CPU."""
    return ms.get_context("device_target") != "CPU"


def use_native_kernels(model: nn.Cell) -> None:
    """Take the device's own convolutions throughout, whatever the device is."""
    for _, cell in model.cells_and_names():
        if hasattr(cell, "native"):
            cell.native = True


def block_channels(
    num_channels: int, base_channels: int, num_blocks: int, widen_at: tuple[int, ...]
) -> list[tuple[int, int, int]]:
    """(in channels, out channels, temporal stride) of each block of a graph network.

    The blocks `widen_at`, counted from 1, double the channels and halve the frames.

    Raises:
        UserError: there would be no block, or none of its channels.
    """
    for name, value in (("base_channels", base_channels), ("num_blocks", num_blocks)):
        if value < 1:
            raise UserError(f"`model.{name}` must be at least 1; got {value}.")
    plan, in_channels, out_channels = [], num_channels, base_channels
    for number in range(1, num_blocks + 1):
        widens = number in widen_at
        out_channels = out_channels * 2 if widens else out_channels
        plan.append((in_channels, out_channels, 2 if widens else 1))
        in_channels = out_channels
    return plan
