"""A model with MindSpore's own layers instead of the project's matrix products.

Convolutions over frames are `nn.Conv2d` with kernels (k, 1), convolutions over volumes `nn.Conv3d`,
norms `nn.BatchNorm2d`, as in a direct port of a PyTorch network.
"""

from typing import Any

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import initializer

from flag3d_exp.models.graph import GraphConv
from flag3d_exp.models.layers import BatchNorm, Conv, replace_cells
from flag3d_exp.models.volume import DepthwiseConv, VolumeConv


def in_own_layers(model: nn.Cell) -> None:
    """Replace the project's layers in `model`; sizes are kept, weights are drawn again."""
    makers: dict[type, Any] = {
        Conv: OwnConv,
        BatchNorm: OwnBatchNorm,
        GraphConv: OwnGraphConv,
        VolumeConv: OwnVolumeConv,
        DepthwiseConv: OwnVolumeConv,
    }
    replace_cells(model, makers)


class OwnConv(nn.Cell):
    """The same convolution of (N, C, H, W)."""

    def __init__(self, cell: Conv):
        super().__init__()
        out_channels, in_channels, *kernel = cell.weight.shape
        top, left = ((k - 1) * d // 2 for k, d in zip(kernel, cell.dilation, strict=True))
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            tuple(kernel),
            cell.stride,
            "pad",
            (top, top, left, left),
            cell.dilation,
            has_bias=cell.bias is not None,
        )

    def construct(self, x):
        return self.conv(x)

    def channel_bias(self):
        """None: the convolution adds it."""


class OwnBatchNorm(nn.Cell):
    """The same batch norm; every convolution before it adds its own bias."""

    def __init__(self, cell: BatchNorm):
        super().__init__()
        self.norm, self.relu = nn.BatchNorm2d(cell.weight.shape[0]), cell.relu

    def construct(self, x, _bias=None):
        out = self.norm(x)
        return ops.relu(out) if self.relu else out


class OwnGraphConv(nn.Cell):
    """One convolution for all subsets and a product with their edges."""

    def __init__(self, cell: GraphConv):
        super().__init__()
        width, in_channels = cell.weight.shape[:2]
        self.conv = nn.Conv2d(in_channels, width, 1, has_bias=cell.spread_bias)
        self.bias = None if cell.spread_bias else Parameter(initializer("zeros", width))
        self.num_subsets = cell.num_subsets

    def construct(self, x, adjacency):
        n, _, t, v = x.shape
        k = self.num_subsets
        x = self.conv(x).reshape(n, k, -1, t, v)
        x = ops.matmul(x, adjacency.expand_dims(-3)).sum(1)
        if self.bias is None:
            return x
        return x + self.bias.reshape(k, -1).sum(0).reshape(1, -1, 1, 1)

    def channel_bias(self):
        """None: the convolution adds it."""


class OwnVolumeConv(nn.Cell):
    """`nn.Conv3d` between two changes of layout, which take little time in comparison."""

    def __init__(self, cell: VolumeConv | DepthwiseConv):
        super().__init__()
        shape = cell.weight.shape
        frames, rows, columns = (size // 2 for size in shape[2:])
        depthwise = isinstance(cell, DepthwiseConv)
        self.conv = nn.Conv3d(
            shape[0] if depthwise else shape[1],
            shape[0],
            shape[2:],
            (1, cell.stride, cell.stride),
            "pad",
            (frames, frames, rows, rows, columns, columns),
            group=shape[0] if depthwise else 1,
        )

    def construct(self, x, num_frames):
        nt, c, h, w = x.shape
        x = x.reshape(nt // num_frames, num_frames, c, h, w).transpose(0, 2, 1, 3, 4)
        x = self.conv(x).transpose(0, 2, 1, 3, 4)
        return x.reshape(nt, *x.shape[2:])
