"""Multi-scale temporal units, for (N, C, T, V)."""

from mindspore import nn, ops

from flag3d_exp.models.kernels.slices import every_nth
from flag3d_exp.models.layers import BatchNorm, Conv, ConvNorm, stacked_init


class Branches(nn.Cell):
    """Parallel branches: dilated convolutions, a maximum over three frames, and a 1x1 convolution.

    All branches except the last start with a 1x1 convolution, batch norm and ReLU. The channels are
    divided evenly; the first branch gets the remainder. Every `stride`-th frame is kept.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel: int = 3,
        dilations: tuple[int, ...] = (1, 2, 3, 4),
    ):
        super().__init__()
        count = len(dilations) + 2
        share = out_channels // count
        widths = [out_channels - share * (count - 1)] + [share] * (count - 1)
        self.widths, self.stride = widths[:-1], stride
        entries = stacked_init(self.widths, in_channels)
        self.entry = ConvNorm(in_channels, out_channels - share, init=entries, relu=True)
        self.convs = nn.CellList(
            [
                Conv(width, width, (kernel, 1), (stride, 1), (dilation, 1))
                for width, dilation in zip(widths, dilations, strict=False)
            ]
        )
        self.plain = Conv(in_channels, share, stride=(stride, 1))
        self.pool = ops.MaxPool((3, 1), pad_mode="same")

    def construct(self, x):
        *narrow, last = ops.split(self.entry(x), self.widths, 1)
        out = [conv(part) for conv, part in zip(self.convs, narrow)]  # noqa: B905  jit knows no strict
        # Both give the same values; training uses pooling, whose gradient is faster on a CPU.
        largest = self.pool(last) if self.training else max_of_three_frames(last)
        return ops.concat([*out, every_nth(largest, self.stride, 2), self.plain(x)], 1)


class MultiBranch(nn.Cell):
    """Branches, batch norm, ReLU, a 1x1 convolution that mixes them, batch norm (ST-GCN++)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.branches = Branches(in_channels, out_channels, stride)
        self.norm = BatchNorm(out_channels, relu=True)
        self.mix = ConvNorm(out_channels, out_channels)

    def construct(self, x):
        return self.mix(self.norm(self.branches(x)))


def max_of_three_frames(x):
    """Maximum of each frame and its neighbours, for non-negative values."""
    n, c, t, v = x.shape
    zeros = ops.zeros((n, c, 1, v), x.dtype)
    before = ops.concat([zeros, x[:, :, : t - 1]], 2)
    after = ops.concat([x[:, :, 1:], zeros], 2)
    return ops.maximum(ops.maximum(before, x), after)
