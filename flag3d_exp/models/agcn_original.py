"""2s-AGCN as in the code of its paper (Two-Stream Adaptive Graph Convolutional Networks, arXiv
1805.07694): the sum of a fixed graph, a learned graph and a softmax of joint similarities.

Published weights of this version have names such as `l1.gcn1.conv_a.0.weight`.
Sizes: N clips, M persons, T frames, V joints, C channels, K neighbour subsets.
"""

import dataclasses
import math

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal

from flag3d_exp.models import published as names
from flag3d_exp.models.agcn import JointSimilarity
from flag3d_exp.models.graph import GraphConv, GraphNetwork
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import BatchNorm, ConvNorm
from flag3d_exp.skeletons.layout import Layout, adjacency


class GraphUnit(nn.Cell):
    """Graph convolution over fixed, learned and input-dependent edges."""

    norm_follows_conv = True  # see folding.py

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        num_subsets = len(graph)
        self.adjacency = Tensor(graph)
        self.learned = Parameter(np.full_like(graph, 1e-6), name="learned")
        self.similarity = JointSimilarity(in_channels, out_channels, num_subsets)
        deviation = math.sqrt(2 / (out_channels * in_channels * num_subsets))
        self.conv = GraphConv(in_channels, out_channels, num_subsets, init=Normal(deviation))
        self.norm = BatchNorm(out_channels, scale=1e-6)
        self.relu_of_sum = kernels().relu_of_sum
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels)

    def construct(self, x):
        drawn = ops.softmax(self.similarity(x), -2)  # over source joints
        edges = self.adjacency + self.learned + drawn  # (N, K, V, V)
        out = self.norm(self.conv(x, edges), self.conv.channel_bias())
        return self.relu_of_sum(out, x if self.shortcut is None else self.shortcut(x))

    def multiply_adds(self, _x, _out):
        """0: `conv` also counts the products with the edges."""
        return 0


class AGCNOriginal(GraphNetwork):
    """Fixed, learned and input-dependent edges, then a convolution over nine frames.

    The graph is the layout's, except for `nturgb+d`, where it is that of the bones: the finger tips
    are connected to the thumbs, as in the paper's code.
    """

    bounds = {"base_channels": ">= 4"}  # embeddings have a quarter of the channels

    published = (
        (r"^norm\.norm\.", "data_bn."),
        (r"^head\.", "fc."),
        (r"^blocks\.(\d+)\.", r"l<\1>."),
        (r"\.graph\.", ".gcn."),
        *names.ADAPTIVE,
        (r"\.gcn\.", ".gcn1."),
        (r"\.temporal\.", ".tcn1."),
        (r"\.learned$", ".PA"),
        *names.COMMON,
    )

    def units(
        self, in_channels: int, out_channels: int, stride: int, skeleton: Layout
    ) -> tuple[nn.Cell, nn.Cell]:
        """The graph unit and the temporal unit of a block."""
        graph = adjacency(with_published_edges(skeleton), "spatial")
        temporal = ConvNorm(out_channels, out_channels, (9, 1), (stride, 1))
        return GraphUnit(in_channels, out_channels, graph), temporal


def with_published_edges(skeleton: Layout) -> Layout:
    """The layout with the edges of the paper's code; they differ from PYSKL's for 25 joints."""
    if skeleton.name != "nturgb+d":
        return skeleton
    bones = tuple(bone for bone in enumerate(skeleton.parents) if bone[1] >= 0)
    return dataclasses.replace(skeleton, edges=bones)
