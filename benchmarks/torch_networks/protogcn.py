"""ProtoGCN: DG-STGCN, in training with prototypes of edges and a contrastive loss."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from flag3d_exp.skeletons.layout import load_layout
from torch_networks.graph import DynamicGraph, GraphNetwork, SharedBranches
from torch_networks.layers import conv_norm


class ProtoGCN(GraphNetwork):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes)."""

    def __init__(self, settings: Mapping[str, Any]):
        num_joints = load_layout(settings["layout"]).num_joints
        shape = num_joints, settings["num_graphs"], settings["ratio"]
        super().__init__(
            settings,
            lambda i, o: DynamicGraph(i, o, *shape),
            lambda channels, stride: SharedBranches(channels, stride, num_joints),
        )
        self.weight = settings["contrastive_weight"]
        if self.weight > 0:
            width = self.blocks[-1].graph.source.out_channels
            rates = settings["num_prototypes"], settings["prototype_dropout"]
            self.prototypes = Prototypes(width, *rates)
            self.head.auxiliary = Contrast(num_joints**2, settings["num_classes"])

    def loss(self, keypoints, labels):
        """Cross entropy, plus the weighted contrastive loss."""
        before = x = self.norm(keypoints)
        for block in self.blocks:
            before, x = x, block(x)
        n, m = keypoints.shape[:2]
        logits = self.head(x.mean((2, 3)).view(n, m, -1).mean(1))
        loss = F.cross_entropy(logits, labels)
        if self.weight > 0:
            v = keypoints.shape[3]
            by_channel, by_joint = self.blocks[-1].graph.drawn(before)
            edges = (by_channel + by_joint[:, :, None]).reshape(n, m, -1, v * v)
            edges = self.prototypes(edges.mean(1))
            loss = loss + self.weight * self.head.auxiliary(edges, logits, labels)
        return loss


class Prototypes(nn.Module):
    """Edges (N, C, V * V) -> (N, V * V), as mixtures of prototypes."""

    def __init__(self, num_channels: int, num_prototypes: int, dropout: float):
        super().__init__()
        self.query = nn.Conv2d(num_channels, num_prototypes, 1, bias=False)
        self.memory = nn.Conv2d(num_prototypes, num_channels, 1, bias=False)
        self.mix = conv_norm(num_channels, num_channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, edges):
        rebuilt = self.memory(self.query(edges.unsqueeze(-1)).softmax(1))
        return F.relu(self.mix(self.dropout(rebuilt))).mean((1, 3))


class Contrast(nn.Module):
    """The loss of clips against running means of the classes, which correct clips move."""

    def __init__(self, num_features: int, num_classes: int):
        super().__init__()
        self.projection = nn.Linear(num_features, 256)
        self.register_buffer("class_means", torch.randn(256, num_classes))

    def forward(self, edges, logits, labels):
        z = self.projection(edges)
        right = (logits.argmax(1) == labels).float().unsqueeze(1)
        counted = F.one_hot(labels, logits.shape[1]).float() * right
        number = counted.sum(0)
        share = 0.1 * (number > 0)
        means = self.class_means * (1 - share) + z.T @ counted / number.clamp(min=1) * share
        self.class_means.copy_(means.detach())
        return F.cross_entropy(F.normalize(z, dim=1) @ F.normalize(means, dim=0) / 0.125, labels)
