"""Layers of networks over volumes, which are kept as frames: (N * T, C, H, W).

Frames side by side let two-dimensional kernels do all the work; only a kernel longer than one frame
needs to know how many there are to a clip. Sizes: N clips, T frames, C channels.
"""

from math import prod

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import HeNormal, initializer

from flag3d_exp.models.layers import (
    BatchNorm,
    Normalised,
    channel_product,
    every_nth,
    native_kernels,
)

MAX_UNFOLDED = 64 << 20  # numbers; frames are unfolded in groups of at most so many, 256 MB


class VolumeConv(nn.Cell):
    """Convolution without bias over (N * T, C, H, W), padded so that stride 1 keeps the size.

    Args:
        kernel: frames, rows, columns; odd.
        stride: of rows and columns. Frames are left out with `every_nth_frame`.
        native: use the device's convolution instead of the matrix product; None: unless on a CPU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int] = (1, 1, 1),
        stride: int = 1,
        native: bool | None = None,
    ):
        super().__init__()
        shape = (out_channels, in_channels, *kernel)
        self.weight = Parameter(initializer(HeNormal(mode="fan_out"), shape), name="weight")
        self.shift = None  # see folding.py
        self.kernel, self.stride = kernel, stride
        self.padding = tuple(size // 2 for size in kernel)
        self.native = native_kernels() if native is None else native
        if not self.native:
            # What is unfolded and the copies of weights are made again for the backward pass, not
            # kept; so is an output that is large and quickly made.
            widens = kernel == (1, 1, 1) and out_channels > in_channels
            self.recompute(output_recompute=widens)

    def construct(self, x, num_frames):
        bias = self.shift
        frames, rows, columns = self.kernel
        _, _, h, w = x.shape
        out_h, out_w = (h - 1) // self.stride + 1, (w - 1) // self.stride + 1
        if not self.native and rows == columns == self.stride == 1:
            out = self.sum_of_frames(x, num_frames)
            return out if bias is None else ops.bias_add(out, bias)
        x = neighbouring_frames(x, num_frames, frames)  # (N * T, frames * C, H, W)
        weight = self.weight.transpose(0, 2, 1, 3, 4)  # (O, frames, C, rows, columns)
        weight = weight.reshape(weight.shape[0], -1, rows, columns)
        if self.native:
            return ops.conv2d(x, weight, bias, self.stride, "pad", self.padding[1:])
        weight = weight.reshape(weight.shape[0], -1)
        at_once = max(1, MAX_UNFOLDED // (weight.shape[1] * out_h * out_w))
        parts = []
        for first in range(0, x.shape[0], at_once):
            part = x[first : first + at_once]
            if self.stride == 1:
                parts.append(self.sum_of_rows(weight, part))
            else:
                unfolded = ops.unfold(part, (rows, columns), 1, self.padding[1:], self.stride)
                parts.append(channel_product(weight, unfolded))
        out = parts[0] if len(parts) == 1 else ops.concat(parts)
        out = out.reshape(x.shape[0], -1, out_h, out_w)
        return out if bias is None else ops.bias_add(out, bias)

    def channel_bias(self):
        """(C,) or None: what is added to each channel."""
        return self.shift

    def sum_of_frames(self, x, num_frames):
        """By a kernel (frames, 1, 1): the product with each of its frames, moved and added.

        The products have `frames` times as many channels as the output. To gather neighbouring
        frames first would make `frames` times those of the input, which has more in every network
        here.
        """
        frames = self.kernel[0]
        nt, c, h, w = x.shape
        weight = self.weight.reshape(-1, c, frames).transpose(2, 0, 1).reshape(-1, c)
        products = channel_product(weight, x.reshape(nt, c, h * w))  # (N * T, frames * O, H * W)
        if frames == 1:
            return products.reshape(nt, -1, h, w)
        taps = products.reshape(-1, num_frames, frames, weight.shape[0] // frames, h * w)
        return sum_of_shifted(ops.unbind(taps, 2)).reshape(nt, -1, h, w)

    def sum_of_rows(self, weight, x):
        """weight (O, C * rows * columns), x (N * T, C, H, W) -> (N * T, O, H * W).

        Each row of the kernel is multiplied with the frame unfolded along columns alone, which is
        `rows` times smaller than unfolded along both; the products are then moved and added.
        """
        _, rows, columns = self.kernel
        nt, c, h, w = x.shape
        weight = weight.reshape(-1, c, rows, columns).transpose(2, 0, 1, 3)
        above, beside = self.padding[1:]
        zeros = ops.zeros((nt, c, above, w), x.dtype)
        unfolded = ops.unfold(ops.concat([zeros, x, zeros], 2), (1, columns), 1, (0, beside), 1)
        products = channel_product(weight.reshape(-1, c * columns), unfolded)
        first, *others = ops.unbind(products.reshape(nt, rows, -1, (h + 2 * above) * w), 1)
        total = first[:, :, : h * w]
        for number, other in enumerate(others, 1):
            total = total + other[:, :, number * w : (number + h) * w]
        return total

    def multiply_adds(self, _x, out):
        """Of one pass, given the shapes of input and output."""
        return prod(out) * self.weight.size // self.weight.shape[0]


class DepthwiseConv(nn.Cell):
    """Convolution without bias of each channel by itself; settings as in `VolumeConv`."""

    def __init__(
        self,
        num_channels: int,
        kernel: tuple[int, int, int],
        stride: int = 1,
        native: bool | None = None,
    ):
        super().__init__()
        shape = (num_channels, 1, *kernel)
        self.weight = Parameter(initializer(HeNormal(mode="fan_out"), shape), name="weight")
        self.shift = None  # see folding.py
        self.kernel, self.stride = kernel, stride
        self.padding = tuple(size // 2 for size in kernel)
        self.native = native_kernels() if native is None else native

    def construct(self, x, num_frames):
        bias = self.shift
        frames, rows, columns = self.kernel
        nt, c, h, w = x.shape
        out_h, out_w = (h - 1) // self.stride + 1, (w - 1) // self.stride + 1
        if self.native:
            taps = [
                ops.conv2d(
                    x, self.weight[:, :, k], None, self.stride, "pad", self.padding[1:], 1, c
                )
                for k in range(frames)
            ]
        else:
            taps = self.products(x, out_h * out_w)
        taps = [tap.reshape(nt // num_frames, num_frames, c, out_h, out_w) for tap in taps]
        total = sum_of_shifted(taps).reshape(nt, c, out_h, out_w)
        return total if bias is None else ops.bias_add(total, bias)

    def channel_bias(self):
        """(C,) or None: what is added to each channel."""
        return self.shift

    def products(self, x, area):
        """Per frame of the kernel, what each frame contributes: (N * T, C, H' * W')."""
        frames, rows, columns = self.kernel
        nt, c, _, _ = x.shape
        if rows == columns == self.stride == 1:
            x = x.reshape(nt, c, 1, area)
        else:
            x = ops.unfold(x, (rows, columns), 1, self.padding[1:], self.stride)
            x = x.reshape(nt, c, rows * columns, area)
        weight = self.weight.reshape(1, c, frames, rows * columns)
        return ops.unbind(ops.bmm(ops.tile(weight, (nt, 1, 1, 1)), x), 2)

    def multiply_adds(self, _x, out):
        """Of one pass, given the shapes of input and output."""
        return prod(out) * self.weight.size // self.weight.shape[0]


class VolumeUnit(Normalised):
    """Convolution, batch norm and, if `relu`, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int] = (1, 1, 1),
        stride: int = 1,
        relu: bool = True,
        depthwise: bool = False,
        scale: float = 1.0,
    ):
        super().__init__()
        self.conv = (
            DepthwiseConv(out_channels, kernel, stride)
            if depthwise
            else VolumeConv(in_channels, out_channels, kernel, stride)
        )
        self.norm = BatchNorm(out_channels, scale)
        self.relu = relu

    def construct(self, x, num_frames):
        x = self.normalised(x, num_frames)
        return ops.relu(x) if self.relu else x


def neighbouring_frames(x, num_frames, count):
    """(N * T, C, H, W) -> (N * T, count * C, H, W): each frame after and before its neighbours."""
    if count == 1:
        return x
    nt, c, h, w = x.shape
    clips = x.reshape(nt // num_frames, num_frames, c, h, w)
    around = [shifted_frames(clips, count // 2 - number) for number in range(count)]
    return ops.concat(around, 2).reshape(nt, count * c, h, w)


def sum_of_shifted(taps):
    """What each frame of a kernel makes of x, (N, T, ...), moved where it belongs and added."""
    middle = len(taps) // 2
    total = taps[middle]
    for number in range(len(taps)):
        if number != middle:
            total = total + shifted_frames(taps[number], middle - number)
    return total


def shifted_frames(x, shift):
    """x (N, T, ...) moved `shift` frames later (earlier if negative), zeros coming in."""
    if shift == 0:
        return x
    away = min(abs(shift), x.shape[1])
    zeros = ops.zeros((x.shape[0], away, *x.shape[2:]), x.dtype)
    if shift > 0:
        return ops.concat([zeros, x[:, : x.shape[1] - away]], 1)
    return ops.concat([x[:, away:], zeros], 1)


def every_nth_frame(x, num_frames, step):
    """(N * T, C, H, W) -> (N * ceil(T / step), C, H, W): frames 0, step, 2 step, ..."""
    clips = x.reshape(-1, num_frames, *x.shape[1:])
    return every_nth(clips, step, 1).reshape(-1, *x.shape[1:])


def clips_of_frames(x, num_clips):
    """(N * T, C, H, W) -> (N, 1, C, T, H, W), what networks over volumes return."""
    return x.reshape(num_clips, 1, -1, *x.shape[1:]).transpose(0, 1, 3, 2, 4, 5)
