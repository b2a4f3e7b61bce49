"""ST-GCN++: PYSKL: Towards Good Practices for Skeleton Action Recognition (arXiv 2205.09443).

Sizes: N clips, M persons, T frames, V joints, C channels, K neighbour subsets.
"""

from typing import Annotated

import numpy as np
from mindspore import Parameter, nn, ops

from flag3d_exp.models.graph import Block, GraphConv, KeypointNorm, block_channels
from flag3d_exp.models.layers import BatchNorm, ConvNorm, Head, Normalised
from flag3d_exp.models.temporal import MultiBranch
from flag3d_exp.skeletons.layout import adjacency, load_layout


class GraphUnit(Normalised):
    """Graph convolution over learned edges, plus the input."""

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        self.adjacency = Parameter(graph.copy(), name="adjacency")
        self.conv = GraphConv(in_channels, out_channels, len(graph), spread_bias=True)
        self.norm = BatchNorm(out_channels)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels)

    def construct(self, x):
        out = self.normalised(x, self.adjacency)
        return ops.relu(out + (x if self.shortcut is None else self.shortcut(x)))


class STGCNPP(nn.Cell):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes).

    Args:
        layout: name or YAML file of the joints' layout.
        widen_at: blocks, counted from 1, that double the channels and halve the frames.
        dropout: share of the head's features that training drops; the trainer draws the mask.
    """

    bounds = {"base_channels": ">= 6"}  # a channel for each of six branches

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
        self.norm = KeypointNorm(skeleton.num_joints, num_channels)
        self.blocks = nn.CellList(
            [
                Block(
                    GraphUnit(in_channels, out_channels, graph),
                    MultiBranch(out_channels, out_channels, stride),
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
