"""Layers that several models share.

Sizes: N clips, M persons, C channels, T frames, V joints, K neighbour subsets. Images are
(N, C, H, W); in graph models H is the frame and W the joint, and N counts clips times persons.
Convolutions on a CPU are written as matrix products, which MindSpore's CPU kernels do far faster;
other devices use their native kernels on the same weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Initializer, initializer

EPSILON = 1e-5  # of batch norm
MOMENTUM = 0.1  # weight of the newest batch in batch norm's running statistics
GROUP = 3  # frames of a long kernel that are unfolded together
GROUPED_CHANNELS = 128  # at most; with more, the product outweighs the unfolding


class Multiplying(nn.Cell):
    """To inherit from: multiplies its input with `arranged` weights, of which each clip has a copy.

    MindSpore's product of batches takes no single matrix for all of them. Evaluation, whose weights
    stay, `keeps` the copies from pass to pass.
    """

    def __init__(self):
        super().__init__()
        self.kept = None

    def arranged(self):
        """(O, C'): the weight as it is multiplied with C' rows of the input."""
        raise NotImplementedError

    def keep(self, count):
        """Make the copies for `count` inputs from the weight as it is now, to be used from here on.

        With another number of inputs, a pass still makes its own.
        """
        copies = repeated(self.arranged(), count)
        if self.kept is None or self.kept.shape != copies.shape:
            self.kept = Parameter(copies, name=f"{self.weight.name}.kept", requires_grad=False)
        else:
            ops.assign(self.kept, copies)

    def product(self, x, bias=None):
        """x (N, C', L), plus bias (O,): (N, O, L)."""
        kept = self.kept is not None and self.kept.shape[0] == x.shape[0]
        return channel_product(self.kept if kept else self.arranged(), x, bias)


class Conv(Multiplying):
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
        self.shift = None  # see folding.py
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.padding = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True))
        self.native = native_kernels() if native is None else native
        self.own_places = None
        if out_channels == 1 and stride == (1, 1):
            self.own_places = Tensor(np.eye(prod(kernel), dtype=np.float32).reshape(1, -1))
        self.grouped = (
            kernel[0] > GROUP
            and kernel[0] % (2 * GROUP) == GROUP  # odd: else the size is not kept
            and kernel[1] == 1
            and stride == dilation == (1, 1)
            and max(in_channels, out_channels) <= GROUPED_CHANNELS
        )

    def construct(self, x):
        return self.with_bias(self.channel_bias(), x)

    def with_bias(self, bias, x):
        """The convolution with this bias (C,), or without any if None."""
        if self.native:
            return ops.conv2d(x, self.weight, bias, self.stride, "pad", self.padding, self.dilation)
        if self.own_places is not None:
            return self.sum_of_places(bias, x)
        if self.grouped:
            out = self.sum_of_groups(x)
            return out if bias is None else ops.bias_add(out, bias)
        n, c, h, w = x.shape
        sizes = [
            num_places(size, self.kernel[axis], *self.along(axis))
            for axis, size in ((0, h), (1, w))
        ]
        if self.kernel == (1, 1) and self.stride == (1, 1):
            columns = x.reshape(n, c, h * w)
        elif self.training or self.kernel[1] > 1 or self.stride[1] > 1:
            columns = ops.unfold(x, self.kernel, self.dilation, self.padding, self.stride)
        else:
            columns = unfolded_by_slices(x, self.kernel[0], *self.along(0))
        return self.product(columns, bias).reshape(n, -1, *sizes)

    def arranged(self):
        """(O, C'): C' are channels and places of the kernel; O places too where they are moved."""
        out_channels, c = self.weight.shape[:2]
        if self.own_places is not None:
            return self.weight.reshape(c, -1).T  # (rows * columns, C)
        if self.grouped:
            weight = self.weight.reshape(out_channels, c, -1, GROUP).transpose(2, 0, 1, 3)
            return weight.reshape(-1, c * GROUP)
        return self.weight.reshape(out_channels, -1)

    def along(self, axis):
        """Dilation, padding and stride of rows (0) or columns (1)."""
        return self.dilation[axis], self.padding[axis], self.stride[axis]

    def sum_of_groups(self, x):
        """The convolution by a kernel of (GROUP * n, 1), GROUP rows of which are unfolded.

        That writes and reads a n-th of what all of them would; the products with each group of
        the kernel's rows are then moved and added.
        """
        n, c, h, w = x.shape
        groups = self.kernel[0] // GROUP
        zeros = ops.zeros((n, c, self.padding[0], w), x.dtype)
        padded = ops.concat([zeros, x, zeros], 2)
        if self.training:
            columns = ops.unfold(padded, (GROUP, 1), 1, 0, 1)
        else:
            columns = unfolded_by_slices(padded, GROUP)
        products = self.product(columns).reshape(n, groups, -1, h + (groups - 1) * GROUP, w)
        first, *others = ops.unbind(products, 1)  # (N, C, H + (groups - 1) * GROUP, W)
        total = first[:, :, :h]
        for number, other in enumerate(others, 1):
            total = total + other[:, :, number * GROUP : number * GROUP + h]
        return total

    def sum_of_places(self, bias, x):
        """The convolution to one channel: the products with each place of the kernel are unfolded.

        They are fewer than the channels of the input.
        """
        n, c, h, w = x.shape
        products = self.product(x.reshape(n, c, h * w)).reshape(n, -1, h, w)
        unfolded = ops.unfold(products, self.kernel, self.dilation, self.padding, self.stride)
        return channel_product(self.own_places, unfolded, bias).reshape(n, 1, h, w)

    def channel_bias(self):
        """(C,) or None: what the bias adds to each channel."""
        return self.bias if self.shift is None else self.shift

    def multiply_adds(self, _x, out):
        """Of one pass, given the shapes of input and output."""
        return prod(out) * self.weight.size // self.weight.shape[0]


class BatchNorm(nn.Cell):
    """Batch norm of (N, C, H, W) per channel.

    Not `nn.BatchNorm2d`, whose parameters `gamma` and `beta` MindSpore's optimizers leave out of
    weight decay by name. The running variance is the unbiased one, as in PyTorch.

    Args:
        scale: what `weight` starts from.
        native: keep it an operation of its own even after a convolution; None: unless on a CPU.
    """

    def __init__(self, num_channels: int, scale: float = 1.0, native: bool | None = None):
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
        self.momentum = MOMENTUM
        self.native = native_kernels() if native is None else native
        self.world = 1

    def construct(self, x):
        if self.training and self.world > 1:
            return self._synchronised(x)
        norm = self.batch_norm if self.training else self.running_norm
        return norm(x, self.weight, self.bias, self.running_mean, self.running_var)[0]

    def without_bias(self, x, bias):
        """Batch norm, while training, of x + bias: the bias moves nothing but the running mean."""
        return ops.depend(self.construct(x), ops.assign_add(self.running_mean, MOMENTUM * bias))

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


class Normalised(nn.Cell):
    """To inherit from: a convolution `conv` and the batch norm `norm` of its output.

    On a CPU, where every pass over memory counts, the bias is left out in training, since the
    batch's mean takes it away again; for evaluation the norm becomes part of the convolution
    (folding.py).
    """

    def __init__(self):
        super().__init__()
        self.folded = False

    def normalised(self, *inputs):
        """Batch norm of what the convolution makes of `inputs`."""
        if self.folded:
            return self.conv(*inputs)
        bias = None if self.norm.native or not self.training else self.conv.channel_bias()
        if bias is None:
            return self.norm(self.conv(*inputs))
        return self.norm.without_bias(self.conv.with_bias(None, *inputs), bias)

    def multiply_adds(self, _x, _out):
        """None of its own: `conv` counts its products, those with the edges it is given too."""
        return 0


class ConvNorm(Normalised):
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
        return self.normalised(x)


class Mean(nn.Cell):
    """Mean of (N, C, H, W) over axes beside each other, which are left out.

    By a matrix product on a CPU, which takes a tenth of the time of a reduction.

    Args:
        native: use the device's reduction; None: unless on a CPU.
    """

    def __init__(self, axes: tuple[int, ...], native: bool | None = None):
        super().__init__()
        self.axes = axes
        self.native = native_kernels() if native is None else native

    def construct(self, x):
        if self.native:
            return x.mean(self.axes)
        n, c, h, w = x.shape
        if self.axes == (2, 3):
            return ops.matmul(x.reshape(n * c, h * w), shares(h * w, x.dtype)).reshape(n, c)
        if self.axes == (3,):
            return ops.matmul(x.reshape(n * c * h, w), shares(w, x.dtype)).reshape(n, c, h)
        rows = ops.tile(shares(h, x.dtype).reshape(1, 1, h), (n * c, 1, 1))
        return ops.bmm(rows, x.reshape(n * c, h, w)).reshape(n, c, w)


def shares(count, dtype):
    """(count, 1): what a mean multiplies each of its numbers with."""
    return ops.ones((count, 1), dtype) / count


def channel_product(weight, x, bias=None):
    """weight (O, C), or N copies of it, times x (N, C, L), plus bias (O,): (N, O, L)."""
    x = ops.bmm(weight if weight.ndim == 3 else repeated(weight, x.shape[0]), x)
    return x if bias is None else ops.bias_add(x, bias)


def repeated(weight, count):
    """weight (O, C) -> (count, O, C), in less time than by `ops.matmul`."""
    return ops.tile(weight, (count, 1)).reshape(count, *weight.shape)


def num_places(size, kernel, dilation, padding, stride):
    """How often a kernel fits along an axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def unfolded_by_slices(x, count, dilation=1, padding=0, stride=1):
    """x (N, C, H, W) -> (N, C * count, H' * W): as `ops.unfold` by a kernel (count, 1).

    It takes a third of the time of `ops.unfold` on a CPU, but its gradient takes longer.
    """
    n, c, h, w = x.shape
    out_h = num_places(h, count, dilation, padding, stride)
    below = (dilation * (count - 1) // stride + out_h) * stride - h - padding
    if padding + below > 0:
        above = ops.zeros((n, c, padding, w), x.dtype)
        x = ops.concat([above, x, ops.zeros((n, c, below, w), x.dtype)], 2)
    phases = [x] if stride == 1 else ops.unbind(x.reshape(n, c, -1, stride, w), 3)
    rows = []
    for number in range(count):
        row = phases[number * dilation % stride]
        first = number * dilation // stride
        # a slice of the whole takes a hundred times as long as one of a part
        rows.append(row if row.shape[2] == out_h else row[:, :, first : first + out_h])
    return ops.stack(rows, 2).reshape(n, c * count, out_h * w)


def every_nth(x, step, axis):
    """Places 0, step, 2 step, ... of x along an axis.

    The gradient of a gather keeps tables of eight bytes per number on a CPU; that of a slice with a
    step is wrong.
    """
    if step == 1:
        return x
    before, size, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if size % step:
        x = ops.concat([x, ops.zeros((*before, step - size % step, *after), x.dtype)], axis)
    return ops.unbind(x.reshape(*before, -1, step, *after), axis + 1)[0]


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


@contextmanager
def norms_apart(model: nn.Cell) -> Iterator[None]:
    """Every bias before a norm kept for the time of the block, so that hooks see both cells."""
    norms = [cell for _, cell in model.cells_and_names() if isinstance(cell, BatchNorm)]
    before = [norm.native for norm in norms]
    for norm in norms:
        norm.native = True
    try:
        yield
    finally:
        for norm, native in zip(norms, before, strict=True):
            norm.native = native
