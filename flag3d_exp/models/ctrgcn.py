"""CTR-GCN: Channel-wise Topology Refinement Graph Convolution (arXiv 2107.12213).

Sizes: N clips, M persons, T frames, V joints, C channels, K neighbour subsets, R reduced channels.
"""

from math import prod

import numpy as np
from mindspore import Parameter, nn, ops

from flag3d_exp.models import published as names
from flag3d_exp.models.graph import GraphNetwork, sum_of_subsets
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import BatchNorm, Conv, ConvNorm, Mean, stacked_init, tanh
from flag3d_exp.models.temporal import Branches
from flag3d_exp.skeletons.layout import Layout, adjacency


class GraphUnit(nn.Cell):
    """Graph convolution with edges refined per channel by differences between joints."""

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        k = len(graph)
        reduced = [8 if in_channels <= 16 else in_channels // 8] * k
        wide = [out_channels] * k
        self.adjacency = Parameter(graph.copy(), name="adjacency")
        self.gate = Parameter(np.zeros(1, np.float32), name="gate")
        self.source = Conv(in_channels, sum(reduced), init=stacked_init(reduced, in_channels))
        self.target = Conv(in_channels, sum(reduced), init=stacked_init(reduced, in_channels))
        self.value = Conv(in_channels, sum(wide), init=stacked_init(wide, in_channels))
        self.refine = SubsetConv(reduced[0], out_channels, k)
        self.norm = BatchNorm(out_channels, scale=1e-6)
        self.relu_of_sum = kernels().relu_of_sum
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels)
        self.mean_frame = Mean((2,))

    def construct(self, x):
        n, _, t, v = x.shape
        k = self.adjacency.shape[0]
        mean = self.mean_frame(x).expand_dims(2)  # (N, C, 1, V)
        source = self.source(mean).reshape(n, -1, v, 1)
        target = self.target(mean).reshape(n, -1, 1, v)
        differences = tanh(source - target).reshape(n, k, -1, v * v)
        edges = self.refine(differences, self.gate, self.adjacency.reshape(k, 1, v * v))
        edges = edges.reshape(n, k, -1, v, v)
        value = self.value(x).reshape(n, k, -1, t, v)
        out = self.norm(sum_of_subsets(ops.bmm(value, edges)))  # (N, C, T, V)
        return self.relu_of_sum(out, x if self.shortcut is None else self.shortcut(x))

    def multiply_adds(self, x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return self.adjacency.shape[0] * prod(out) * x[3]


class SubsetConv(nn.Cell):
    """A separate gated 1x1 convolution for each of K subsets, plus values shared by all channels.

    Computed as one matrix product: [gate * weight, gate * bias, 1] times [input, 1, shared]. So the
    gradients are matrix products too. The gradient of a broadcast sum would be a reduction, which
    takes a fifth of a training step on a CPU.
    """

    def __init__(self, in_channels: int, out_channels: int, num_subsets: int):
        super().__init__()
        widths = [out_channels] * num_subsets
        self.weight = Parameter(stacked_init(widths, in_channels), name="weight")
        self.bias = Parameter(np.zeros(sum(widths), np.float32), name="bias")

    def construct(self, x, gate, shared):
        """x (N, K, R, L), gate (1,), shared (K, 1, L) -> (N, K, C, L)."""
        n, k, r, length = x.shape
        weight, bias = self.weight.reshape(k, -1, r), self.bias.reshape(k, -1, 1)
        weight = ops.concat([gate * weight, gate * bias, ops.ones_like(bias)], 2)  # (K, C, R + 2)
        rows = ops.concat([ops.ones_like(shared), shared], 1).expand_dims(0)  # (1, K, 2, L)
        x = ops.concat([x, ops.tile(rows, (n, 1, 1, 1))], 2)  # (N, K, R + 2, L)
        return ops.bmm(ops.tile(weight.expand_dims(0), (n, 1, 1, 1)), x)

    def multiply_adds(self, x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return prod(out) * x[2]


class TemporalUnit(nn.Cell):
    """Branches over five frames with dilations 1 and 2; batch norm, ReLU."""

    def __init__(self, num_channels: int, stride: int):
        super().__init__()
        self.branches = Branches(num_channels, num_channels, stride, kernel=5, dilations=(1, 2))
        self.norm = BatchNorm(num_channels, relu=True)

    def construct(self, x):
        return self.norm(self.branches(x))


class CTRGCN(GraphNetwork):
    """Edges refined per channel, then four temporal branches."""

    bounds = {"base_channels": ">= 4"}  # a channel for each of four branches

    published = (
        (r"^norm\.norm\.", "backbone.data_bn."),
        (r"^blocks\.", "backbone.net."),
        (r"^head\.", "cls_head.fc_cls."),
        (r"\.graph\.", ".gcn1."),
        (r"\.temporal\.", ".tcn1."),
        (r"\.gcn1\.shortcut\.conv\.", ".gcn1.down.0."),
        (r"\.gcn1\.shortcut\.norm\.", ".gcn1.down.1."),
        (r"\.gcn1\.source\.", ".gcn1.convs.{0,1,2}.conv1."),
        (r"\.gcn1\.target\.", ".gcn1.convs.{0,1,2}.conv2."),
        (r"\.gcn1\.value\.", ".gcn1.convs.{0,1,2}.conv3."),
        (r"\.gcn1\.refine\.", ".gcn1.convs.{0,1,2}.conv4."),
        *names.FIVE_FRAMES,
        (r"\.adjacency$", ".A"),
        (r"\.gate$", ".alpha"),
        *names.COMMON,
    )

    def units(
        self, in_channels: int, out_channels: int, stride: int, skeleton: Layout
    ) -> tuple[nn.Cell, nn.Cell]:
        """The graph unit and the temporal unit of a block."""
        graph = GraphUnit(in_channels, out_channels, adjacency(skeleton, "spatial"))
        temporal = TemporalUnit(out_channels, stride)
        return graph, temporal
