"""AAGCN: Skeleton-Based Action Recognition with Multi-Stream Adaptive Graph Convolutional Networks
(arXiv 1912.06971): AGCN with attention over joints, frames and channels.

FLAG3D's "2s-AGCN" is one stream of this network.
Sizes: N clips, M persons, T frames, V joints, C channels.
"""

import numpy as np
from mindspore import nn, ops
from mindspore.common.initializer import HeNormal, XavierNormal

from flag3d_exp.models import published as names
from flag3d_exp.models.agcn import GraphUnit
from flag3d_exp.models.dense import Dense
from flag3d_exp.models.graph import GraphNetwork
from flag3d_exp.models.layers import Conv, ConvNorm, Mean
from flag3d_exp.skeletons.layout import Layout, adjacency


class Attention(nn.Cell):
    """Attention over joints, frames, then channels, as factors 1 + weight on (N, C, T, V)."""

    def __init__(self, num_channels: int, num_joints: int):
        super().__init__()
        odd = num_joints if num_joints % 2 else num_joints - 1
        self.joints = Conv(num_channels, 1, (odd, 1), init=XavierNormal())
        self.frames = Conv(num_channels, 1, (9, 1), init="zeros")
        self.squeeze = Dense(num_channels, num_channels // 2, init=HeNormal(mode="fan_out"))
        self.excite = Dense(num_channels // 2, num_channels, init="zeros")
        self.mean_frame = Mean((2,))

    def construct(self, x):
        """Each mean includes the previous weights; x is multiplied only once, by all weights."""
        n, c, t, v = x.shape
        joints = self.joints(self.mean_frame(x).expand_dims(-1)).reshape(n, v, 1)
        joints = 1 + ops.sigmoid(joints)  # (N, V, 1)
        of_frames = ops.bmm(x.reshape(n, c * t, v), joints).reshape(n, c, t, 1) / v
        frames = 1 + ops.sigmoid(self.frames(of_frames).reshape(n, t, 1))  # (N, T, 1)
        of_channels = ops.bmm(of_frames.reshape(n, c, t), frames).reshape(n, c) / t
        channels = 1 + ops.sigmoid(self.excite(ops.relu(self.squeeze(of_channels))))  # (N, C)
        weights = ops.bmm(frames, joints.reshape(n, 1, v)).reshape(n, 1, t * v)
        weights = ops.bmm(channels.reshape(n, c, 1), weights)  # (N, C, T * V)
        return x * weights.reshape(n, c, t, v)


class AttentiveGraphUnit(nn.Cell):
    """AGCN's graph unit followed by attention."""

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        self.unit = GraphUnit(in_channels, out_channels, graph)
        self.attention = Attention(out_channels, graph.shape[-1])

    def construct(self, x):
        return self.attention(self.unit(x))


class AAGCN(GraphNetwork):
    """AGCN's graph unit with attention, then a temporal convolution over nine frames."""

    bounds = {"base_channels": ">= 4"}  # embeddings have a quarter of the channels

    published = (
        *names.GRAPH,
        *names.ADAPTIVE,
        (r"\.adjacency$", ".A"),
        (r"\.gate$", ".alpha"),
        (r"\.attention\.joints\.", ".conv_sa."),
        (r"\.attention\.frames\.", ".conv_ta."),
        (r"\.attention\.squeeze\.", ".fc1c."),
        (r"\.attention\.excite\.", ".fc2c."),
        *names.COMMON,
    )

    def units(
        self, in_channels: int, out_channels: int, stride: int, skeleton: Layout
    ) -> tuple[nn.Cell, nn.Cell]:
        """The graph unit and the temporal unit of a block."""
        graph = AttentiveGraphUnit(in_channels, out_channels, adjacency(skeleton, "spatial"))
        temporal = ConvNorm(out_channels, out_channels, (9, 1), (stride, 1))
        return graph, temporal
