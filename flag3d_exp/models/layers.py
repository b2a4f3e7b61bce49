"""Layers that several models share; models/kernels/ has their implementations.

Sizes: N clips, M persons, C channels, T frames, V joints, K neighbour subsets. Images are
(N, C, H, W); in graph models H is the frame and W the joint, and N counts clips times persons.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Initializer, initializer

from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.kernels.native import EPSILON, MOMENTUM


class Conv(nn.Cell):
    """Convolution of (N, C, H, W), padded so that stride 1 keeps the size.

    Args:
        init: of the weight; None: Kaiming normal by fan-out.
        add_bias: False if a batch norm follows, which adds the bias instead (see `BatchNorm`).
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
        add_bias: bool = True,
    ):
        super().__init__()
        shape = (out_channels, in_channels, *kernel)
        init = HeNormal(mode="fan_out") if init is None else init
        self.weight = Parameter(initializer(init, shape), name="weight")
        self.bias = Parameter(initializer("zeros", out_channels), name="bias") if bias else None
        self.stride, self.dilation, self.add_bias = stride, dilation, add_bias
        self.conv2d = kernels().conv2d

    def construct(self, x):
        bias = self.bias if self.add_bias else None
        return self.conv2d(x, self.weight, bias, self.stride, self.dilation, self.training)

    def channel_bias(self):
        """(C,) or None: the bias of each channel."""
        return self.bias

    def multiply_adds(self, _x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return prod(out) * self.weight.size // self.weight.shape[0]


class BatchNorm(nn.Cell):
    """Batch norm of (N, C, H, W) per channel, then ReLU if `relu`.

    The norm adds the bias of the convolution before it, which saves a pass over memory: in training
    the bias cancels in the output, and only the running mean sees it.

    Used instead of `nn.BatchNorm2d`, because MindSpore's optimizers exclude parameters with the
    names `gamma` and `beta` from weight decay. The running variance is unbiased, as in PyTorch.

    Args:
        scale: initial value of `weight`.
    """

    def __init__(self, num_channels: int, scale: float = 1.0, relu: bool = False):
        super().__init__()
        self.weight = Parameter(np.full(num_channels, scale, np.float32), name="weight")
        self.bias = Parameter(np.zeros(num_channels, np.float32), name="bias")
        self.running_mean = Parameter(
            np.zeros(num_channels, np.float32), name="running_mean", requires_grad=False
        )
        self.running_var = Parameter(
            np.ones(num_channels, np.float32), name="running_var", requires_grad=False
        )
        self.batch_norm = kernels().batch_norm
        self.running_norm = kernels().running_norm
        self.momentum, self.relu = MOMENTUM, relu

    def construct(self, x, bias=None):
        """The norm of x + bias (C,)."""
        parameters = (self.weight, self.bias, self.running_mean, self.running_var)
        if not self.training:
            x = x if bias is None else ops.bias_add(x, bias)
            return self.running_norm(x, *parameters, self.relu)
        out = self.batch_norm(x, *parameters, self.relu)
        if bias is None:
            return out
        return ops.depend(out, ops.assign_add(self.running_mean, MOMENTUM * bias))


class SyncBatchNorm(nn.Cell):
    """Batch norm over the batches of all ranks, which must have equal sizes.

    Args:
        norm: the `BatchNorm` to replace; its parameters are used.
        world: number of ranks.
    """

    def __init__(self, norm: BatchNorm, world: int):
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.running_norm, self.relu = norm.running_norm, norm.relu
        self.total: Any = ops.AllReduce()
        self.world = world

    def construct(self, x, bias=None):
        """The norm of x + bias (C,)."""
        if not self.training:
            x = x if bias is None else ops.bias_add(x, bias)
            statistics = (self.running_mean, self.running_var)
            return self.running_norm(x, self.weight, self.bias, *statistics, self.relu)
        channels = (1, -1, 1, 1)
        share = 1.0 / self.world
        x = x.astype(ms.float32)
        mean = self.total(x.mean((0, 2, 3))) * share
        centred = x - mean.reshape(channels)
        variance = self.total((centred * centred).mean((0, 2, 3))) * share
        count = self.world * x.size // x.shape[1]
        unbiased = variance * (count / (count - 1))
        seen = mean if bias is None else mean + bias
        ops.assign(self.running_mean, self.running_mean * (1 - MOMENTUM) + seen * MOMENTUM)
        ops.assign(self.running_var, self.running_var * (1 - MOMENTUM) + unbiased * MOMENTUM)
        scale = self.weight * ops.rsqrt(variance + EPSILON)
        out = centred * scale.reshape(channels) + self.bias.reshape(channels)
        return ops.relu(out) if self.relu else out


class ConvNorm(nn.Cell):
    """Convolution, then batch norm, then ReLU if `relu`."""

    norm_follows_conv = True  # see folding.py

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        bias: bool = True,
        init: Initializer | Tensor | str | None = None,
        relu: bool = False,
    ):
        super().__init__()
        sizes = (kernel, stride, dilation)
        self.conv = Conv(in_channels, out_channels, *sizes, bias, init, add_bias=False)
        self.norm = BatchNorm(out_channels, relu=relu)

    def construct(self, x):
        return self.norm(self.conv(x), self.conv.channel_bias())


class Mean(nn.Cell):
    """Mean of (N, C, H, W) over `axes`, one of (2,), (3,) and (2, 3), which are removed."""

    def __init__(self, axes: tuple[int, ...]):
        super().__init__()
        self.axes = axes
        self.mean = kernels().mean

    def construct(self, x):
        return self.mean(x, self.axes)


def synchronise(model: nn.Cell, world: int) -> None:
    """Replace every batch norm of the model by one over the batches of all ranks."""
    replace_cells(model, {BatchNorm: lambda norm: SyncBatchNorm(norm, world)})


def replace_cells(model: nn.Cell, makers: dict[type, Callable[[Any], nn.Cell]]) -> None:
    """Replace each cell of the model whose class is in `makers`.

    Parameters keep their names; new ones are named by their position in the model.
    """
    names = {id(p): p.name for p in model.get_parameters()}
    for parent in [cell for _, cell in model.cells_and_names()]:
        for name, child in list(parent.name_cells().items()):
            if type(child) not in makers:
                continue
            set_child(parent, name, makers[type(child)](child))
    for place, parameter in model.parameters_and_names():
        parameter.name = names.get(id(parameter), place.removeprefix("backbone."))


def set_child(parent: Any, name: str, cell: nn.Cell) -> None:
    """Replace the parent's child cell of this name."""
    if isinstance(parent, nn.CellList):
        parent[int(name)] = cell
    else:
        setattr(parent, name, cell)


def tanh(x):
    """Hyperbolic tangent. MindSpore's own has errors of up to 1e-4 on a CPU."""
    return 2 * ops.sigmoid(2 * x) - 1


def stacked_init(widths: Sequence[int], in_channels: int) -> Tensor:
    """(sum of widths, C, 1, 1): concatenated weights of convolutions that are computed as one.

    Kaiming normal by the fan-out of each.
    """
    kaiming = HeNormal(mode="fan_out")
    return ops.concat([initializer(kaiming, (n, in_channels, 1, 1)).init_data() for n in widths])
