"""Graph networks except MS-G3D: ten blocks of a graph unit and a temporal unit."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flag3d_exp.skeletons.layout import adjacency, load_layout
from torch_networks.layers import (
    Block,
    FiveFrames,
    KeypointNorm,
    MultiBranch,
    added,
    conv,
    conv_norm,
    shortcut,
)

Unit = Callable[[int, int], nn.Module]


class GraphNetwork(nn.Module):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes).

    Args:
        settings: of the model group; only the settings that shape the network are read.
        graph: (in channels, out channels) -> a block's graph unit.
        temporal: (channels, stride) -> a block's temporal unit.
        norm_persons: number of persons with a separate norm.
    """

    def __init__(
        self, settings: Mapping[str, Any], graph: Unit, temporal: Unit, norm_persons: int = 1
    ):
        super().__init__()
        num_joints = load_layout(settings["layout"]).num_joints
        self.norm = KeypointNorm(num_joints, settings["num_channels"], norm_persons)
        in_channels, out_channels = settings["num_channels"], settings["base_channels"]
        blocks = []
        for number in range(1, settings["num_blocks"] + 1):
            stride = 2 if number in settings["widen_at"] else 1
            out_channels *= stride
            units = graph(in_channels, out_channels), temporal(out_channels, stride)
            blocks.append(Block(*units, in_channels, out_channels, stride, residual=number > 1))
            in_channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(in_channels, settings["num_classes"])

    def forward(self, keypoints):
        x = self.norm(keypoints)
        for block in self.blocks:
            x = block(x)
        features = x.mean((2, 3)).view(keypoints.shape[0], -1, x.shape[1]).mean(1)
        return self.head(features)


class FixedGraph(nn.Module):
    """ST-GCN: edges of learned importance. ST-GCN++: learned edges, and a residual."""

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray, learned: bool):
        super().__init__()
        self.adjacency = nn.Parameter(torch.tensor(graph), requires_grad=learned)
        if not learned:
            self.importance = nn.Parameter(torch.ones(graph.shape))
        self.conv = conv(in_channels, len(graph) * out_channels)
        self.norm = nn.BatchNorm2d(out_channels)
        self.learned = learned
        self.shortcut = shortcut(in_channels, out_channels) if learned else None

    def forward(self, x):
        n, _, t, v = x.shape
        edges = self.adjacency if self.learned else self.adjacency * self.importance
        out = self.conv(x).view(n, len(edges), -1, t, v)
        out = self.norm(torch.einsum("nkctv,kvw->nctw", out, edges))
        return F.relu(out + added(x, self.shortcut) if self.learned else out)


class Similarity(nn.Module):
    """The similarity of the joints' embeddings: (N, K, V, V)."""

    def __init__(self, in_channels: int, out_channels: int, num_subsets: int):
        super().__init__()
        self.source = conv(in_channels, out_channels // 4 * num_subsets)
        self.target = conv(in_channels, out_channels // 4 * num_subsets)
        self.num_subsets = num_subsets

    def forward(self, x):
        n, _, _, v = x.shape
        source = self.source(x).view(n, self.num_subsets, -1, v)  # (N, K, C / 4 * T, V)
        target = self.target(x).view(n, self.num_subsets, -1, v)
        return torch.matmul(source.transpose(2, 3), target) / source.shape[2]


class AdaptiveGraph(nn.Module):
    """AGCN: learned edges, and edges drawn from the input.

    Args:
        original: add softmax edges to fixed ones, as in the paper's code.
    """

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray, original: bool):
        super().__init__()
        edges = torch.tensor(graph)
        if original:
            self.register_buffer("adjacency", edges, persistent=False)
            self.learned = nn.Parameter(torch.full(graph.shape, 1e-6))
        else:
            self.adjacency = nn.Parameter(edges)
            self.gate = nn.Parameter(torch.zeros(1))
        self.original = original
        self.similarity = Similarity(in_channels, out_channels, len(graph))
        self.conv = conv(in_channels, len(graph) * out_channels)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(in_channels, out_channels)

    def forward(self, x):
        n, c, t, v = x.shape
        drawn = self.similarity(x)
        if self.original:
            edges = self.adjacency + self.learned + drawn.softmax(-2)
        else:
            edges = self.adjacency + self.gate * drawn.tanh()  # (N, K, V, V)
        weights, biases = self.conv.weight.chunk(3), self.conv.bias.chunk(3)
        rows = x.view(n, c * t, v)
        out = sum(
            F.conv2d(torch.matmul(rows, edges[:, k]).view(n, c, t, v), weights[k], biases[k])
            for k in range(3)
        )
        return F.relu(self.norm(out) + added(x, self.shortcut))


class Attention(nn.Module):
    """AAGCN: over joints, then frames, then channels."""

    def __init__(self, num_channels: int, num_joints: int):
        super().__init__()
        self.joints = conv(num_channels, 1, num_joints - (num_joints + 1) % 2)
        self.frames = conv(num_channels, 1, 9)
        self.squeeze = nn.Linear(num_channels, num_channels // 2)
        self.excite = nn.Linear(num_channels // 2, num_channels)

    def forward(self, x):
        joints = self.joints(x.mean(2).unsqueeze(-1))  # (N, 1, V, 1)
        x = x * (1 + joints.sigmoid().transpose(2, 3))
        x = x * (1 + self.frames(x.mean(3, keepdim=True)).sigmoid())
        channels = self.excite(F.relu(self.squeeze(x.mean((2, 3)))))
        return x * (1 + channels.sigmoid())[:, :, None, None]


class AttentiveGraph(nn.Module):
    """AAGCN: AGCN's unit, then attention."""

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        self.unit = AdaptiveGraph(in_channels, out_channels, graph, original=False)
        self.attention = Attention(out_channels, graph.shape[-1])

    def forward(self, x):
        return self.attention(self.unit(x))


class RefinedGraph(nn.Module):
    """CTR-GCN: edges refined for every channel."""

    def __init__(self, in_channels: int, out_channels: int, graph: np.ndarray):
        super().__init__()
        k = len(graph)
        reduced = k * (8 if in_channels <= 16 else in_channels // 8)
        self.adjacency = nn.Parameter(torch.tensor(graph))
        self.gate = nn.Parameter(torch.zeros(1))
        self.source = conv(in_channels, reduced)
        self.target = conv(in_channels, reduced)
        self.value = conv(in_channels, k * out_channels)
        self.refine = nn.Conv2d(reduced, k * out_channels, 1, groups=k)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(in_channels, out_channels)

    def forward(self, x):
        n, _, t, v = x.shape
        k = len(self.adjacency)
        mean = x.mean(2, keepdim=True)  # (N, C, 1, V)
        differences = self.source(mean).transpose(2, 3) - self.target(mean)
        refined = self.refine(differences.tanh()).view(n, k, -1, v, v)
        edges = self.adjacency[:, None] + self.gate * refined
        value = self.value(x).view(n, k, -1, t, v)
        out = torch.einsum("nkctv,nkcvw->nctw", value, edges)
        return F.relu(self.norm(out) + added(x, self.shortcut))


class ActiveFiveFrames(FiveFrames):
    """CTR-GCN's temporal unit."""

    def forward(self, x):
        return F.relu(super().forward(x))


class DynamicGraph(nn.Module):
    """DG-STGCN: learned graphs, and edges by channel and by joint."""

    def __init__(
        self, in_channels: int, out_channels: int, num_joints: int, num_graphs: int, ratio: float
    ):
        super().__init__()
        width = num_graphs * int(ratio * out_channels)
        self.adjacency = nn.Parameter(0.04 + 0.02 * torch.randn(num_graphs, num_joints, num_joints))
        self.channel_gate = nn.Parameter(torch.zeros(num_graphs))
        self.joint_gate = nn.Parameter(torch.zeros(num_graphs))
        self.value = conv_norm(in_channels, width)
        self.source = conv(in_channels, width)
        self.target = conv(in_channels, width)
        self.mix = conv(width, out_channels)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(in_channels, out_channels)

    def forward(self, x):
        n, _, t, v = x.shape
        by_channel, by_joint = self.drawn(x)
        edges = by_channel + (self.adjacency + by_joint)[:, :, None]
        value = F.relu(self.value(x)).view(n, len(self.adjacency), -1, t, v)
        out = self.mix(torch.matmul(value, edges).view(n, -1, t, v))
        return F.relu(self.norm(out) + added(x, self.shortcut))

    def drawn(self, x):
        """The edges that depend on the input: by channel (N, K, R, V, V), by joint (N, K, V, V)."""
        n, _, _, v = x.shape
        k = len(self.adjacency)
        mean = x.mean(2, keepdim=True)
        source = self.source(mean).view(n, k, -1, v)
        target = self.target(mean).view(n, k, -1, v)
        by_channel = (source[..., None] - target[..., None, :]).tanh()
        by_joint = torch.matmul(source.transpose(2, 3), target).softmax(-2)
        return self.channel_gate[0] * by_channel, self.joint_gate[0] * by_joint


class SharedBranches(MultiBranch):
    """DG-STGCN's temporal unit: joints also receive the mean joint's features."""

    def __init__(self, num_channels: int, stride: int, num_joints: int):
        super().__init__(num_channels, stride)
        self.share = nn.Parameter(torch.zeros(max(num_joints, 25)))

    def forward(self, x):
        v = x.shape[3]
        out = self.branches(torch.cat([x, x.mean(3, keepdim=True)], 3))
        out = out[..., :v] + out[..., v:] * self.share[:v]
        return self.mix(F.relu(self.norm(out)))


def stgcn(settings: Mapping[str, Any]) -> nn.Module:
    """ST-GCN (arXiv 1801.07455), from the settings of `model=stgcn`."""
    graph = adjacency(load_layout(settings["layout"]), "stgcn_spatial")
    return GraphNetwork(
        settings,
        lambda i, o: FixedGraph(i, o, graph, learned=False),
        lambda channels, stride: conv_norm(channels, channels, 9, stride),
    )


def stgcnpp(settings: Mapping[str, Any]) -> nn.Module:
    """ST-GCN++ (arXiv 2205.09443)."""
    graph = adjacency(load_layout(settings["layout"]), "spatial")
    return GraphNetwork(settings, lambda i, o: FixedGraph(i, o, graph, learned=True), MultiBranch)


def agcn(settings: Mapping[str, Any], original: bool = False) -> nn.Module:
    """AGCN, the 2s-AGCN network (arXiv 1805.07694)."""
    skeleton = load_layout(settings["layout"])
    if original and skeleton.name == "nturgb+d":
        bones = tuple(bone for bone in enumerate(skeleton.parents) if bone[1] >= 0)
        skeleton = dataclasses.replace(skeleton, edges=bones)
    graph = adjacency(skeleton, "spatial")
    return GraphNetwork(
        settings,
        lambda i, o: AdaptiveGraph(i, o, graph, original),
        lambda channels, stride: conv_norm(channels, channels, 9, stride),
        settings["num_persons"],
    )


def agcn_original(settings: Mapping[str, Any]) -> nn.Module:
    """AGCN in its authors' own form."""
    return agcn(settings, original=True)


def aagcn(settings: Mapping[str, Any]) -> nn.Module:
    """AAGCN (arXiv 1912.06971)."""
    graph = adjacency(load_layout(settings["layout"]), "spatial")
    return GraphNetwork(
        settings,
        lambda i, o: AttentiveGraph(i, o, graph),
        lambda channels, stride: conv_norm(channels, channels, 9, stride),
        settings["num_persons"],
    )


def ctrgcn(settings: Mapping[str, Any]) -> nn.Module:
    """CTR-GCN (arXiv 2107.12213)."""
    graph = adjacency(load_layout(settings["layout"]), "spatial")
    return GraphNetwork(
        settings,
        lambda i, o: RefinedGraph(i, o, graph),
        ActiveFiveFrames,
        settings["num_persons"],
    )


def dgstgcn(settings: Mapping[str, Any]) -> nn.Module:
    """DG-STGCN (arXiv 2210.05895)."""
    num_joints = load_layout(settings["layout"]).num_joints
    num_graphs, ratio = settings["num_graphs"], settings["ratio"]
    return GraphNetwork(
        settings,
        lambda i, o: DynamicGraph(i, o, num_joints, num_graphs, ratio),
        lambda channels, stride: SharedBranches(channels, stride, num_joints),
    )
