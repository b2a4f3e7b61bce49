"""2s-AGCN as in the code of its paper (Two-Stream Adaptive Graph Convolutional Networks, arXiv
1805.07694): three graphs added, the fixed one, a learned one and a softmax of joint similarities.

Published weights in this form have names such as `l1.gcn1.conv_a.0.weight`.
Sizes: N clips, M persons, T frames, V joints, C channels, K neighbour subsets.
"""

import dataclasses
import math
from typing import Annotated

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal

from flag3d_exp.models.agcn import JointSimilarity
from flag3d_exp.models.graph import Block, GraphConv, KeypointNorm, block_channels
from flag3d_exp.models.layers import BatchNorm, ConvNorm, Head, Normalised
from flag3d_exp.skeletons.layout import adjacency, load_layout


class GraphUnit(Normalised):
    """Graph convolution over fixed, learned and input-dependent edges."""

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        num_subsets = len(graph)
        self.adjacency = Tensor(graph)
        self.learned = Parameter(np.full_like(graph, 1e-6), name="learned")
        self.similarity = JointSimilarity(in_channels, out_channels, num_subsets)
        deviation = math.sqrt(2 / (out_channels * in_channels * num_subsets))
        self.conv = GraphConv(in_channels, out_channels, num_subsets, init=Normal(deviation))
        self.norm = BatchNorm(out_channels, scale=1e-6)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels)

    def construct(self, x):
        drawn = ops.softmax(self.similarity(x), -2)  # over source joints
        edges = self.adjacency + self.learned + drawn  # (N, K, V, V)
        out = self.normalised(x, edges)
        return ops.relu(out + (x if self.shortcut is None else self.shortcut(x)))


class AGCNOriginal(nn.Cell):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes).

    The graph is that of the bones: in `nturgb+d` the finger tips hang on the thumbs, as in the
    paper's code.

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
        bones = tuple(bone for bone in enumerate(skeleton.parents) if bone[1] >= 0)
        graph = adjacency(dataclasses.replace(skeleton, edges=bones), "spatial")
        plan = block_channels(num_channels, base_channels, num_blocks, widen_at)
        self.norm = KeypointNorm(skeleton.num_joints, num_channels, num_persons)
        self.blocks = nn.CellList(
            [
                Block(
                    GraphUnit(in_channels, out_channels, graph),
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
