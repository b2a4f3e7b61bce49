"""AAGCN: Skeleton-Based Action Recognition with Multi-Stream Adaptive Graph Convolutional Networks
(arXiv 1912.06971): AGCN with attention over joints, frames and channels.

FLAG3D's "2s-AGCN" is one stream of this network.
Sizes: N clips, M persons, T frames, V joints, C channels.
"""

from typing import Annotated

import numpy as np
from mindspore import Parameter, nn, ops
from mindspore.common.initializer import HeNormal, Initializer, XavierNormal, initializer

from flag3d_exp.models.agcn import GraphUnit
from flag3d_exp.models.graph import Block, KeypointNorm, block_channels
from flag3d_exp.models.layers import Conv, ConvNorm, Head, Mean
from flag3d_exp.skeletons.layout import adjacency, load_layout


class Attention(nn.Cell):
    """Weighs joints, then frames, then channels; each weight is added to 1. (N, C, T, V) kept."""

    def __init__(self, num_channels: int, num_joints: int):
        super().__init__()
        odd = num_joints if num_joints % 2 else num_joints - 1
        self.joints = Conv(num_channels, 1, (odd, 1), init=XavierNormal())
        self.frames = Conv(num_channels, 1, (9, 1), init="zeros")
        self.squeeze = Dense(num_channels, num_channels // 2, HeNormal(mode="fan_out"))
        self.excite = Dense(num_channels // 2, num_channels, "zeros")
        self.mean_frame = Mean((2,))

    def construct(self, x):
        """Later means are taken with the weights found so far; x is multiplied once, by all."""
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


class Dense(nn.Cell):
    """(N, in_channels) -> (N, out_channels)."""

    def __init__(self, in_channels: int, out_channels: int, init: Initializer | str):
        super().__init__()
        self.weight = Parameter(initializer(init, (out_channels, in_channels)), name="weight")
        self.bias = Parameter(initializer("zeros", out_channels), name="bias")

    def construct(self, x):
        return ops.matmul(x, self.weight.T) + self.bias

    def multiply_adds(self, x, _out):
        """Of one pass, given the shapes of input and output."""
        return x[0] * self.weight.size


class AttentiveGraphUnit(nn.Cell):
    """AGCN's graph unit, then attention."""

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        self.unit = GraphUnit(in_channels, out_channels, graph)
        self.attention = Attention(out_channels, graph.shape[-1])

    def construct(self, x):
        return self.attention(self.unit(x))


class AAGCN(nn.Cell):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes).

    Args:
        layout: name or YAML file of the joints' layout.
        widen_at: blocks, counted from 1, that double the channels and halve the frames.
        dropout: share of the head's features that training drops; the trainer draws the mask.
    """

    bounds = {"base_channels": ">= 4"}  # embeddings have a quarter of the channels

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
                    AttentiveGraphUnit(in_channels, out_channels, graph),
                    ConvNorm(out_channels, out_channels, (9, 1), (stride, 1)),
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
