"""DG-STGCN: Dynamic Spatial-Temporal Modeling for Skeleton-based Action Recognition
(arXiv 2210.05895).

Sizes: N clips, M persons, T frames, V joints, C channels, K learned graphs, R channels of each.
"""

from typing import Annotated

import numpy as np
from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Normal, initializer

from flag3d_exp.models import published as names
from flag3d_exp.models.graph import GraphNetwork
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import BatchNorm, Conv, ConvNorm, Mean, tanh
from flag3d_exp.models.temporal import Branches
from flag3d_exp.skeletons.layout import Layout


class GraphUnit(nn.Cell):
    """Graph convolution over learned graphs, plus gated edges by channel and gated edges by joint.

    Both kinds of edges are computed from the mean over frames: by channel, the tanh of differences
    between joints; by joint, the softmax of similarities. A gate has a value per graph; as in the
    published network, the first value is used for all graphs.
    """

    def __init__(
        self, in_channels: int, out_channels: int, num_joints: int, num_graphs: int, ratio: float
    ):
        super().__init__()
        width = self.width = num_graphs * int(ratio * out_channels)
        self.adjacency = Parameter(
            initializer(Normal(0.02, 0.04), (num_graphs, num_joints, num_joints)), name="adjacency"
        )
        self.channel_gate = Parameter(np.zeros(num_graphs, np.float32), name="channel_gate")
        self.joint_gate = Parameter(np.zeros(num_graphs, np.float32), name="joint_gate")
        self.value = ConvNorm(in_channels, width, relu=True)
        self.source = Conv(in_channels, width)
        self.target = Conv(in_channels, width)
        self.mix = Conv(width, out_channels)
        self.norm = BatchNorm(out_channels)
        self.relu_of_sum = kernels().relu_of_sum
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels)
        self.product = ops.BatchMatMul(transpose_a=True)
        self.mean_frame = Mean((2,))
        self.outer_sum = kernels().outer_sum

    def construct(self, x):
        n, _, t, v = x.shape
        k = self.adjacency.shape[0]
        by_channel, by_joint = self.edges(x)
        by_joint = self.adjacency + self.joint_gate[0] * by_joint
        edges = self.channel_gate[0] * by_channel + by_joint.expand_dims(2)
        value = self.value(x).reshape(n, k, -1, t, v)
        received = ops.bmm(value, edges).reshape(n, self.width, t, v)
        out = self.norm(self.mix(received))
        return self.relu_of_sum(out, x if self.shortcut is None else self.shortcut(x))

    def edges(self, x):
        """Edges by channel (N, K, R, V, V) and by joint (N, K, V, V), before their gates."""
        n, v, k = x.shape[0], x.shape[3], self.adjacency.shape[0]
        mean = self.mean_frame(x).expand_dims(2)  # (N, C, 1, V)
        source = self.source(mean).reshape(n, k, -1, v)  # (N, K, R, V)
        target = self.target(mean).reshape(n, k, -1, v)
        by_channel = tanh(self.outer_sum(source, -target))
        return by_channel, ops.softmax(self.product(source, target), -2)

    def dynamic_graph(self, x):
        """(N, K * R, V, V): the gated edges computed from x, without the learned graphs."""
        by_channel, by_joint = self.edges(x)
        edges = self.channel_gate[0] * by_channel + (self.joint_gate[0] * by_joint).expand_dims(2)
        return edges.reshape(x.shape[0], -1, *edges.shape[3:])

    def multiply_adds(self, x, _out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        n, _, t, v = x
        return n * self.width * (t + 1) * v * v  # over edges, and of similarities


class TemporalUnit(nn.Cell):
    """ST-GCN++'s temporal unit; each joint also receives a share of the mean joint's features.

    The published network has shares for 25 joints for every layout and uses the first V.
    """

    def __init__(self, num_channels: int, stride: int, num_joints: int):
        super().__init__()
        self.branches = Branches(num_channels, num_channels, stride)
        self.share = Parameter(np.zeros(max(num_joints, 25), np.float32), name="share")
        self.norm = BatchNorm(num_channels, relu=True)
        self.mix = ConvNorm(num_channels, num_channels)
        self.mean_joint = Mean((3,))

    def construct(self, x):
        v = x.shape[3]
        mean = self.mean_joint(x).expand_dims(3)  # (N, C, T, 1)
        out = self.branches(ops.concat([x, mean], 3))  # (N, C, T, V + 1)
        joints, body = ops.split(out, [v, 1], 3)
        shares = ops.matmul(body.reshape(-1, 1), self.share[:v].reshape(1, v)).reshape(joints.shape)
        return self.mix(self.norm(joints + shares))


class DGSTGCN(GraphNetwork):
    """Learned graphs with edges by channel and by joint, then temporal branches.

    Args:
        num_graphs: learned graphs K.
        ratio: channels of each graph, per output channel.
        layout, num_channels, num_persons, base_channels, num_blocks, widen_at, dropout: as in
            `GraphNetwork`.
    """

    bounds = {"base_channels": ">= 6"}  # a channel for each of six branches
    norm_per_person = False

    published = (
        *names.GRAPH,
        *names.DOWN,
        *names.MULTI_BRANCH,
        (r"\.gcn\.value\.conv\.", ".gcn.pre.0."),
        (r"\.gcn\.value\.norm\.", ".gcn.pre.1."),
        (r"\.gcn\.source\.", ".gcn.conv1."),
        (r"\.gcn\.target\.", ".gcn.conv2."),
        (r"\.gcn\.mix\.", ".gcn.post."),
        (r"\.channel_gate$", ".alpha"),
        (r"\.joint_gate$", ".beta"),
        (r"\.share$", ".add_coeff"),
        (r"\.adjacency$", ".A"),
        *names.COMMON,
    )

    def __init__(
        self,
        layout: str,
        num_channels: int = 3,
        num_persons: int = 1,
        base_channels: Annotated[int, ">= 1"] = 64,
        num_blocks: Annotated[int, ">= 1"] = 10,
        widen_at: tuple[Annotated[int, ">= 1"], ...] = (5, 8),
        num_graphs: Annotated[int, ">= 1"] = 8,
        ratio: Annotated[float, ">= 1 / base_channels"] = 0.125,
        dropout: Annotated[float, ">= 0, < 1"] = 0.0,
    ):
        self.num_graphs, self.ratio = num_graphs, ratio  # before `units` is called
        super().__init__(
            layout, num_channels, num_persons, base_channels, num_blocks, widen_at, dropout
        )

    def units(
        self, in_channels: int, out_channels: int, stride: int, skeleton: Layout
    ) -> tuple[nn.Cell, nn.Cell]:
        """The graph unit and the temporal unit of a block."""
        graph = GraphUnit(
            in_channels, out_channels, skeleton.num_joints, self.num_graphs, self.ratio
        )
        return graph, TemporalUnit(out_channels, stride, skeleton.num_joints)
