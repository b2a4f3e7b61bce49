"""AGCN: Two-Stream Adaptive Graph Convolutional Networks (2s-AGCN, arXiv 1805.07694).

One stream, with the gated tanh graph of the authors' later code. Published results call this
network 2s-AGCN. The version of the 2019 paper is in agcn_original.py.
Sizes: N clips, M persons, T frames, V joints, C channels, K neighbour subsets.
"""

import math

import numpy as np
from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Normal

from flag3d_exp.models import published as names
from flag3d_exp.models.graph import GraphConv, GraphNetwork
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import BatchNorm, Conv, ConvNorm, stacked_init, tanh
from flag3d_exp.skeletons.layout import Layout, adjacency


class JointSimilarity(nn.Cell):
    """Similarity of the features of each pair of joints, in K embeddings: (N, C, T, V) ->
    (N, K, V, V).

    It is the mean over channels and frames of the product of two embeddings of C / 4 channels.
    """

    def __init__(self, in_channels: int, out_channels: int, num_subsets: int):
        super().__init__()
        widths = [out_channels // 4] * num_subsets
        self.source = Conv(in_channels, sum(widths), init=stacked_init(widths, in_channels))
        self.target = Conv(in_channels, sum(widths), init=stacked_init(widths, in_channels))
        self.num_subsets = num_subsets
        self.product = ops.BatchMatMul(transpose_a=True)

    def construct(self, x):
        n, _, _, v = x.shape
        k = self.num_subsets
        source = self.source(x).reshape(n * k, -1, v)  # (N * K, C / 4 * T, V)
        target = self.target(x).reshape(n * k, -1, v)
        return (self.product(source, target) / source.shape[1]).reshape(n, k, v, v)

    def multiply_adds(self, x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return math.prod(out) * self.source.weight.shape[0] // self.num_subsets * x[2]


class GraphUnit(nn.Cell):
    """Graph convolution over learned edges plus edges computed from the input, scaled by `gate`."""

    norm_follows_conv = True  # see folding.py

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        num_subsets = len(graph)
        self.adjacency = Parameter(graph.copy(), name="adjacency")
        self.gate = Parameter(np.zeros(1, np.float32), name="gate")
        self.similarity = JointSimilarity(in_channels, out_channels, num_subsets)
        deviation = math.sqrt(2 / (out_channels * in_channels * num_subsets))
        self.conv = GraphConv(in_channels, out_channels, num_subsets, init=Normal(deviation))
        self.norm = BatchNorm(out_channels, scale=1e-6)
        self.relu_of_sum = kernels().relu_of_sum
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels)

    def construct(self, x):
        edges = self.adjacency + self.gate * tanh(self.similarity(x))  # (N, K, V, V)
        out = self.norm(self.conv(x, edges), self.conv.channel_bias())
        return self.relu_of_sum(out, x if self.shortcut is None else self.shortcut(x))

    def multiply_adds(self, _x, _out):
        """0: `conv` also counts the products with the edges."""
        return 0


class AGCN(GraphNetwork):
    """Learned edges and gated edges from the input, then a convolution over nine frames."""

    bounds = {"base_channels": ">= 4"}  # embeddings have a quarter of the channels

    published = (
        *names.GRAPH,
        *names.ADAPTIVE,
        (r"\.adjacency$", ".A"),
        (r"\.gate$", ".alpha"),
        *names.COMMON,
    )

    def units(
        self, in_channels: int, out_channels: int, stride: int, skeleton: Layout
    ) -> tuple[nn.Cell, nn.Cell]:
        """The graph unit and the temporal unit of a block."""
        graph = GraphUnit(in_channels, out_channels, adjacency(skeleton, "spatial"))
        temporal = ConvNorm(out_channels, out_channels, (9, 1), (stride, 1))
        return graph, temporal
