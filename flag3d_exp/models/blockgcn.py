"""BlockGCN: Redefine Topology Awareness for Skeleton-Based Action Recognition (CVPR 2024).

Each group of channels has its own graph, which includes an encoding of hop distances between
joints. An encoding of the topology of the clip's mean skeleton is added before every block.

Sizes: N clips, M persons, T frames, V joints, C channels, K subsets, G groups, E elements.
"""

import math
from math import prod
from typing import Annotated

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Initializer, Normal, initializer

from flag3d_exp.errors import UserError
from flag3d_exp.models import published as names
from flag3d_exp.models.dense import Dense, uniform
from flag3d_exp.models.graph import Block
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import BatchNorm, Conv, ConvNorm
from flag3d_exp.models.temporal import Branches
from flag3d_exp.models.topology import Topology
from flag3d_exp.skeletons.layout import adjacency, hop_distance, load_layout

NUM_SUBSETS = 3
TINY = 1e-4  # added to the L2 norms of a graph's columns


class BlockGCN(nn.Cell):
    """keypoints (N, M, T, V, C) -> features (N, M, C', T', V).

    Args:
        layout: name or YAML file of the joints' layout.
        num_channels: of the stream.
        num_persons: each person has separate norms.
        joint_channels: additional channels of the keypoints, which are the joints' positions; the
            topology is computed from them. Without them it is computed from the stream.
        base_channels: channels of the first block.
        widen_at: blocks, counted from 1, that double the channels.
        halve_at: blocks that halve the frames.
        num_groups: groups G of channels.
        num_elements: numbers E that describe a topology.
        batch_topology: as in the authors' code, topologies are scaled by the whole batch, and with
            M persons row r of N * M gets the topology of clip r mod N, which is another clip. The
            scores of a clip then depend on the rest of the batch, also in evaluation.
        dropout: share of the features that the head drops in training.

    Attributes:
        features: channels C' of the output.
    """

    bounds = {"base_channels": ">= 4"}  # a channel for each of four branches

    published = (
        (r"^norm\.", "data_bn."),
        (r"^embedding\.", "to_joint_embedding."),
        (r"^position$", "pos_embedding"),
        (r"^head\.", "fc."),
        (r"^topology\.", "topo.pl."),
        (r"^topologies\.(\d+)\.conv\.", r"t\1.mlp."),
        (r"^topologies\.(\d+)\.", r"t\1."),
        (r"^blocks\.(\d+)\.", r"l<\1>."),
        (r"\.graph\.shortcut\.conv\.", ".gcn1.down.0."),
        (r"\.graph\.shortcut\.norm\.", ".gcn1.down.1."),
        (r"\.graph\.conv\.", ".gcn1.fc2.{0,1,2}."),
        (r"\.graph\.adjacency$", ".gcn1.fc1"),
        (r"\.graph\.by_hops$", ".gcn1.rpe"),
        (r"\.graph\.", ".gcn1."),
        (r"\.temporal\.", ".tcn1."),
        *names.FIVE_FRAMES,
        *names.COMMON,
    )

    def __init__(
        self,
        layout: str,
        num_channels: int = 3,
        num_persons: int = 1,
        joint_channels: bool = False,
        base_channels: Annotated[int, ">= 1"] = 128,
        num_blocks: Annotated[int, ">= 1"] = 10,
        widen_at: tuple[Annotated[int, ">= 1"], ...] = (5,),
        halve_at: tuple[Annotated[int, ">= 1"], ...] = (5, 8),
        num_groups: Annotated[int, ">= 1"] = 8,
        num_elements: Annotated[int, ">= 1"] = 64,
        batch_topology: bool = False,
        dropout: Annotated[float, ">= 0, < 1"] = 0.0,
    ):
        super().__init__()
        if base_channels % num_groups:
            raise UserError(
                f"`model.num_groups` must divide `model.base_channels`; got {num_groups} and "
                f"{base_channels}."
            )
        skeleton = load_layout(layout)
        num_joints = skeleton.num_joints
        edges = adjacency(skeleton, "binary_adj")[0]
        hops = np.minimum(hop_distance(edges), num_joints).astype(int)
        self.embedding = Dense(num_channels, base_channels)
        position = initializer(Normal(1.0), (num_joints, base_channels))
        self.position = Parameter(position, name="position")
        self.norm = BatchNorm(num_persons * num_joints * base_channels)
        self.topology = Topology(num_joints, num_elements, batch_topology)
        blocks, topologies, channels = [], [], base_channels
        for number in range(1, num_blocks + 1):
            out = channels * 2 if number in widen_at else channels
            stride = 2 if number in halve_at else 1
            topologies.append(TopologyUnit(num_elements, channels))
            graph = GraphUnit(channels, out, hops, num_groups)
            temporal = TemporalUnit(out, stride)
            blocks.append(Block(graph, temporal, channels, out, stride, residual=True))
            channels = out
        self.blocks, self.topologies = nn.CellList(blocks), nn.CellList(topologies)
        self.num_channels, self.num_persons = num_channels, num_persons
        self.joint_channels = joint_channels
        self.batch_topology = batch_topology
        self.features, self.dropout = channels, dropout

    def head_init(self, num_classes: int) -> tuple[Initializer, Initializer]:
        """The initializers of the classifier's weight and bias."""
        return Normal(math.sqrt(2 / num_classes)), uniform(self.features)

    def construct(self, keypoints):
        n, m, t, v, c = keypoints.shape
        stream = joints = keypoints
        if self.joint_channels and c > self.num_channels:
            stream = keypoints[..., : self.num_channels]
            joints = keypoints[..., self.num_channels :]
        x = self.embedding(stream) + self.position  # (N, M, T, V, C)
        x = x.transpose(0, 1, 3, 4, 2)  # (N, M, V, C, T)
        width, rows = self.position.shape[1], n * m // self.num_persons
        x = self.norm(x.reshape(rows, self.num_persons * v * width, t, 1))
        x = x.reshape(n * m, v, width, t).transpose(0, 2, 3, 1)
        topology = self.topology(joints)  # (N, E)
        if self.batch_topology:
            topology = ops.tile(topology, (m, 1))
        else:
            topology = ops.tile(topology.expand_dims(1), (1, m, 1))
        topology = topology.reshape(n * m, topology.shape[-1], 1, 1)
        for embed, block in zip(self.topologies, self.blocks):  # noqa: B905  jit knows no strict
            x = block(x + embed(topology))  # (N * M, C, T, V)
        return x.reshape(n, m, *x.shape[1:])

    def multiply_adds(self, _x, _out):
        """0: the position is only added."""
        return 0


class TopologyUnit(nn.Cell):
    """Topologies (N, E, 1, 1) -> features (N, C, 1, 1) to add to a block's input."""

    norm_follows_conv = True  # see folding.py

    def __init__(self, num_elements: int, num_channels: int):
        super().__init__()
        self.conv = Conv(num_elements, num_channels, init=uniform(num_elements), add_bias=False)
        self.norm = BatchNorm(num_channels, relu=True)

    def construct(self, topologies):
        return self.norm(self.conv(topologies), self.conv.channel_bias())


class GraphUnit(nn.Cell):
    """Graph convolution in groups of channels, plus the input.

    The graph of each group and subset is a learned one plus one that depends on the hop distance of
    joints; the columns of both are divided by their L2 norms.

    Args:
        hops: (V, V) between joints.
    """

    norm_follows_conv = True  # see folding.py

    def __init__(self, in_channels: int, out_channels: int, hops: np.ndarray, num_groups: int):
        super().__init__()
        num_joints, farthest = len(hops), int(hops.max())
        own = np.eye(num_joints, dtype=np.float32)
        shape = (NUM_SUBSETS, num_groups, 1, 1)
        self.adjacency = Parameter(np.tile(own, shape), name="adjacency")
        by_hops = np.zeros((NUM_SUBSETS, num_groups, farthest + 1), np.float32)
        self.by_hops = Parameter(by_hops, name="by_hops")
        at_hops = np.arange(farthest + 1)[:, None] == hops.reshape(1, -1)
        self.at_hops = Tensor(at_hops.astype(np.float32))  # (H, V * V)
        self.conv = GroupedGraphConv(in_channels, out_channels, num_groups)
        self.norm = BatchNorm(out_channels)
        self.relu_of_sum = kernels().relu_of_sum
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels)

    def construct(self, x):
        out = self.norm(self.conv(x, self.graphs()), self.conv.channel_bias())
        return self.relu_of_sum(out, x if self.shortcut is None else self.shortcut(x))

    def multiply_adds(self, _x, _out):
        """Multiply-adds of the graphs; `conv` counts the products with them."""
        return self.by_hops.size * self.at_hops.shape[1]

    def graphs(self):
        """(K, G, V, V)."""
        distant = ops.matmul(self.by_hops.reshape(-1, self.at_hops.shape[0]), self.at_hops)
        distant = distant.reshape(self.adjacency.shape)
        return self.adjacency / column_lengths(self.adjacency) + distant / column_lengths(distant)


class GroupedGraphConv(nn.Cell):
    """Sum over subsets of a graph product and a 1x1 convolution, both in groups of channels.

    The following norm adds the biases.
    """

    def __init__(self, in_channels: int, out_channels: int, num_groups: int):
        super().__init__()
        shape = (NUM_SUBSETS, out_channels, in_channels // num_groups, 1, 1)
        init = HeNormal(mode="fan_out")  # of each subset
        weights = [initializer(init, shape[1:]).init_data() for _ in range(NUM_SUBSETS)]
        self.weight = Parameter(ops.concat(weights), name="weight")
        self.bias = Parameter(np.zeros(NUM_SUBSETS * out_channels, np.float32), name="bias")
        self.num_groups, self.out_channels = num_groups, out_channels

    def construct(self, x, graphs):
        """x (N, C, T, V), graphs (K, G, V, V) -> (N, C', T, V)."""
        n, c, t, v = x.shape
        groups = self.num_groups
        rows = x.reshape(n, groups, c // groups * t, v)
        received = [
            ops.bmm(rows, repeated_groups(graph, n)).reshape(n, groups, c // groups, t * v)
            for graph in ops.unbind(graphs)
        ]
        weight = self.weight.reshape(NUM_SUBSETS, groups, -1, c // groups)
        weight = weight.transpose(1, 2, 0, 3).reshape(groups, -1, NUM_SUBSETS * c // groups)
        out = ops.bmm(repeated_groups(weight, n), ops.concat(received, 2))
        return out.reshape(n, self.out_channels, t, v)

    def channel_bias(self):
        """(C',) bias of each channel, which the norm adds."""
        return self.bias.reshape(NUM_SUBSETS, -1).sum(0)

    def multiply_adds(self, x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return NUM_SUBSETS * (prod(x) * x[3] + prod(out) * x[1] // self.num_groups)


class TemporalUnit(nn.Cell):
    """Branches over five frames with dilations 1 and 2, and a maximum; batch norm."""

    def __init__(self, num_channels: int, stride: int):
        super().__init__()
        self.branches = Branches(num_channels, num_channels, stride, kernel=5, dilations=(1, 2))
        self.norm = BatchNorm(num_channels)
        for norm in (self.branches.entry.norm, self.norm):
            norm.weight.set_data(initializer(Normal(0.02, 1.0), norm.weight.shape))

    def construct(self, x):
        return self.norm(self.branches(x))


def column_lengths(graphs):
    """(K, G, 1, V) L2 norms of columns plus `TINY`; the gradient of a zero column is 0."""
    return ops.sqrt((graphs * graphs).sum(2, keepdims=True) + 1e-24) + TINY


def repeated_groups(matrices, count):
    """(G, A, B) -> (count, G, A, B)."""
    return ops.tile(matrices.expand_dims(0), (count, 1, 1, 1))
