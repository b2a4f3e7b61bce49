"""CTR-GCN: Channel-wise Topology Refinement Graph Convolution (arXiv 2107.12213).

Sizes: N clips, M persons, T frames, V joints, C channels, K neighbour subsets, R reduced channels.
"""

from math import prod
from typing import Annotated

import numpy as np
from mindspore import Parameter, nn, ops

from flag3d_exp.models.graph import Block, KeypointNorm, block_channels, sum_of_subsets
from flag3d_exp.models.layers import BatchNorm, Conv, ConvNorm, Head, Mean, stacked_init, tanh
from flag3d_exp.models.temporal import Branches
from flag3d_exp.skeletons.layout import adjacency, load_layout


class GraphUnit(nn.Cell):
    """Graph convolution whose edges are refined for every channel by how joints differ."""

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
        return ops.relu(out + (x if self.shortcut is None else self.shortcut(x)))

    def multiply_adds(self, x, out):
        """Of one pass, given the shapes of input and output."""
        return self.adjacency.shape[0] * prod(out) * x[3]


class SubsetConv(nn.Cell):
    """A 1x1 convolution of its own for each of K subsets, gated, plus what their channels share.

    One matrix product: weights and bias times the gate, and ones for what is shared, by the input,
    ones and what is shared. Its gradients are products, too; those of sums of arrays that differ
    in shape are reductions, which take a fifth of a training step on a CPU.
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
        """Of one pass, given the shapes of input and output."""
        return prod(out) * x[2]


class TemporalUnit(nn.Cell):
    """Branches over five frames, next and next but one; batch norm, ReLU."""

    def __init__(self, num_channels: int, stride: int):
        super().__init__()
        self.branches = Branches(num_channels, num_channels, stride, kernel=5, dilations=(1, 2))
        self.norm = BatchNorm(num_channels)

    def construct(self, x):
        return ops.relu(self.norm(self.branches(x)))


class CTRGCN(nn.Cell):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes).

    Args:
        layout: name or YAML file of the joints' layout.
        widen_at: blocks, counted from 1, that double the channels and halve the frames.
        dropout: share of the head's features that training drops; the trainer draws the mask.
    """

    bounds = {"base_channels": ">= 4"}  # a channel for each of four branches

    def __init__(
        self,
        num_classes: int,
        layout: str,
        num_channels: int = 3,
        num_persons: int = 1,
        base_channels: Annotated[int, ">= 1"] = 64,
        num_blocks: Annotated[int, ">= 1"] = 10,
        widen_at: tuple[Annotated[int, ">= 1"], ...] = (5, 8),
        dropout: Annotated[float, ">= 0, < 1"] = 0.0,
    ):
        super().__init__()
        skeleton = load_layout(layout)
        graph = adjacency(skeleton, "spatial")
        plan = block_channels(num_channels, base_channels, num_blocks, widen_at)
        self.norm = KeypointNorm(skeleton.num_joints, num_channels, num_persons)
        self.blocks = nn.CellList(
            [
                Block(
                    GraphUnit(in_channels, out_channels, graph),
                    TemporalUnit(out_channels, stride),
                    in_channels,
                    out_channels,
                    stride,
                    residual=number > 0,
                )
                for number, (in_channels, out_channels, stride) in enumerate(plan)
            ]
        )
        self.num_features, self.dropout = plan[-1][1], dropout
        self.head = Head(self.num_features, num_classes)

    def construct(self, keypoints, dropout_mask=None):
        """dropout_mask: (N, num_features), already scaled by 1 / (1 - dropout)."""
        x = self.norm(keypoints)  # (N * M, C, T, V)
        for block in self.blocks:
            x = block(x)
        return self.head(x, keypoints.shape[0], dropout_mask)
