"""Layers of networks over volumes, which are stored as frames: (N * T, C, H, W).

Sizes: N clips, T frames, C channels.
"""

from math import prod

from mindspore import Parameter, nn
from mindspore.common.initializer import HeNormal, initializer

from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import BatchNorm


class VolumeConv(nn.Cell):
    """Convolution without bias over (N * T, C, H, W), padded so that stride 1 keeps the size.

    Args:
        kernel: frames, rows, columns; odd.
        stride: of rows and columns. For a stride in time use `every_nth_frame`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int, int] = (1, 1, 1),
        stride: int = 1,
    ):
        super().__init__()
        shape = (out_channels, in_channels, *kernel)
        self.weight = Parameter(initializer(HeNormal(mode="fan_out"), shape), name="weight")
        self.stride = stride
        table = kernels()
        self.conv3d = table.conv3d
        if table.recomputed(kernel):  # the output too, if it is large and cheap
            widens = kernel == (1, 1, 1) and out_channels > in_channels
            self.recompute(output_recompute=widens)

    def construct(self, x, num_frames):
        return self.conv3d(x, self.weight, num_frames, self.stride)

    def channel_bias(self):
        """None: it has no bias."""

    def multiply_adds(self, _x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return prod(out) * self.weight.size // self.weight.shape[0]


class DepthwiseConv(nn.Cell):
    """Depthwise convolution without bias; settings as in `VolumeConv`."""

    def __init__(self, num_channels: int, kernel: tuple[int, int, int], stride: int = 1):
        super().__init__()
        shape = (num_channels, 1, *kernel)
        self.weight = Parameter(initializer(HeNormal(mode="fan_out"), shape), name="weight")
        self.stride = stride
        self.conv3d = kernels().depthwise_conv3d

    def construct(self, x, num_frames):
        return self.conv3d(x, self.weight, num_frames, self.stride)

    def channel_bias(self):
        """None: it has no bias."""

    def multiply_adds(self, _x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return prod(out) * self.weight.size // self.weight.shape[0]


class VolumeUnit(nn.Cell):
    """Convolution, batch norm and, if `relu`, ReLU."""

    norm_follows_conv = True  # see folding.py

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
        self.norm = BatchNorm(out_channels, scale, relu)

    def construct(self, x, num_frames):
        return self.norm(self.conv(x, num_frames))


def clips_of_frames(x, num_clips):
    """(N * T, C, H, W) -> (N, 1, C, T, H, W), the output of networks over volumes."""
    return x.reshape(num_clips, 1, -1, *x.shape[1:]).transpose(0, 1, 3, 2, 4, 5)
