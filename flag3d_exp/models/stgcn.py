"""ST-GCN: Spatial Temporal Graph Convolutional Networks (arXiv 1801.07455).

Sizes: N clips, M persons, T frames, V joints, C channels, K neighbour subsets.
"""

import numpy as np
from mindspore import Parameter, nn

from flag3d_exp.models import published as names
from flag3d_exp.models.graph import GraphConv, GraphNetwork
from flag3d_exp.models.layers import BatchNorm, ConvNorm
from flag3d_exp.skeletons.layout import Layout, adjacency


class GraphUnit(nn.Cell):
    """Graph convolution with a learned importance of each edge."""

    norm_follows_conv = True  # see folding.py

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        self.adjacency = Parameter(graph.copy(), name="adjacency", requires_grad=False)
        self.importance = Parameter(np.ones_like(graph), name="importance")
        self.conv = GraphConv(in_channels, out_channels, len(graph), spread_bias=True)
        self.norm = BatchNorm(out_channels, relu=True)

    def construct(self, x):
        return self.norm(self.conv(x, self.adjacency * self.importance))

    def multiply_adds(self, _x, _out):
        """0: `conv` also counts the products with the edges."""
        return 0


class STGCN(GraphNetwork):
    """Importance-weighted edges, then a temporal convolution over nine frames."""

    norm_per_person = False

    published = (*names.GRAPH, (r"\.importance$", ".PA"), (r"\.adjacency$", ".A"), *names.COMMON)

    def units(
        self, in_channels: int, out_channels: int, stride: int, skeleton: Layout
    ) -> tuple[nn.Cell, nn.Cell]:
        """The graph unit and the temporal unit of a block."""
        graph = GraphUnit(in_channels, out_channels, adjacency(skeleton, "stgcn_spatial"))
        temporal = ConvNorm(out_channels, out_channels, (9, 1), (stride, 1))
        return graph, temporal
