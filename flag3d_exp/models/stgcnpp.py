"""ST-GCN++: PYSKL: Towards Good Practices for Skeleton Action Recognition (arXiv 2205.09443).

Sizes: N clips, M persons, T frames, V joints, C channels, K neighbour subsets.
"""

import numpy as np
from mindspore import Parameter, nn

from flag3d_exp.models import published as names
from flag3d_exp.models.graph import GraphConv, GraphNetwork
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import BatchNorm, ConvNorm
from flag3d_exp.models.temporal import MultiBranch
from flag3d_exp.skeletons.layout import Layout, adjacency


class GraphUnit(nn.Cell):
    """Graph convolution over learned edges, plus the input."""

    norm_follows_conv = True  # see folding.py

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        self.adjacency = Parameter(graph.copy(), name="adjacency")
        self.conv = GraphConv(in_channels, out_channels, len(graph), spread_bias=True)
        self.norm = BatchNorm(out_channels)
        self.relu_of_sum = kernels().relu_of_sum
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels)

    def construct(self, x):
        out = self.norm(self.conv(x, self.adjacency))
        return self.relu_of_sum(out, x if self.shortcut is None else self.shortcut(x))

    def multiply_adds(self, _x, _out):
        """0: `conv` also counts the products with the edges."""
        return 0


class STGCNPP(GraphNetwork):
    """Learned edges, then six temporal branches."""

    norm_per_person = False

    bounds = {"base_channels": ">= 6"}  # a channel for each of six branches

    published = (
        *names.GRAPH,
        *names.DOWN,
        *names.MULTI_BRANCH,
        (r"\.adjacency$", ".A"),
        *names.COMMON,
    )

    def units(
        self, in_channels: int, out_channels: int, stride: int, skeleton: Layout
    ) -> tuple[nn.Cell, nn.Cell]:
        """The graph unit and the temporal unit of a block."""
        graph = GraphUnit(in_channels, out_channels, adjacency(skeleton, "spatial"))
        temporal = MultiBranch(out_channels, out_channels, stride)
        return graph, temporal
