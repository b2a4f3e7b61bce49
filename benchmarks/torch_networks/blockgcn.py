"""BlockGCN: graphs by groups of channels and by hops, and the topology of the mean skeleton."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flag3d_exp.skeletons.layout import adjacency, hop_distance, load_layout
from torch_networks.layers import Block, FiveFrames, added, shortcut

NUM_SUBSETS = 3


class BlockGCN(nn.Module):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes); each clip has its own topology."""

    def __init__(self, settings: Mapping[str, Any]):
        super().__init__()
        skeleton = load_layout(settings["layout"])
        num_joints, width = skeleton.num_joints, settings["base_channels"]
        edges = adjacency(skeleton, "binary_adj")[0]
        hops = torch.tensor(np.minimum(hop_distance(edges), num_joints).astype(int))
        self.num_channels, self.num_persons = settings["num_channels"], settings["num_persons"]
        self.embedding = nn.Linear(self.num_channels, width)
        self.position = nn.Parameter(torch.randn(num_joints, width))
        self.norm = nn.BatchNorm1d(self.num_persons * num_joints * width)
        self.topology = Topology(settings["num_elements"])
        blocks, topologies = [], []
        for number in range(1, settings["num_blocks"] + 1):
            out = 2 * width if number in settings["widen_at"] else width
            stride = 2 if number in settings["halve_at"] else 1
            topologies.append(TopologyUnit(settings["num_elements"], width))
            units = GraphUnit(width, out, hops, settings["num_groups"]), FiveFrames(out, stride)
            blocks.append(Block(*units, width, out, stride, residual=True))
            width = out
        self.blocks, self.topologies = nn.ModuleList(blocks), nn.ModuleList(topologies)
        self.head = nn.Linear(width, settings["num_classes"])

    def forward(self, keypoints):
        n, m, t, v, c = keypoints.shape
        joints = keypoints[..., self.num_channels :] if c > self.num_channels else keypoints
        x = self.embedding(keypoints[..., : self.num_channels]) + self.position
        x = x.permute(0, 1, 3, 4, 2)  # (N, M, V, C, T)
        x = self.norm(x.reshape(n * m // self.num_persons, -1, t))
        x = x.view(n * m, v, -1, t).permute(0, 2, 3, 1).contiguous()
        topology = self.topology(joints).repeat_interleave(m, 0)[..., None, None]
        for embed, block in zip(self.topologies, self.blocks, strict=True):
            x = block(x + embed(topology))
        return self.head(x.mean((2, 3)).view(n, m, -1).mean(1))


class Topology(nn.Module):
    """Joints (N, M, T, V, D) -> an encoding of the lengths of their spanning tree, (N, E)."""

    def __init__(self, num_elements: int):
        super().__init__()
        self.centres = nn.Parameter(torch.rand(num_elements, 2))
        self.sharpness = nn.Parameter(torch.full((num_elements, 2), 3.0))

    def forward(self, joints):
        with torch.no_grad():
            places = joints.mean((1, 2))
            apart = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
            apart = apart / apart.amax((1, 2), keepdim=True).clamp(min=1e-12)
            lengths = tree_lengths(apart)  # (N, V - 1)
        there = (lengths > 0).float()
        birth = self.sharpness[:, 0] * self.centres[:, 0]
        death = self.sharpness[:, 1] * (self.centres[:, 1] - lengths.unsqueeze(2))
        elements = torch.exp(-(birth**2) - death**2) * there.unsqueeze(2)
        return elements.sum(1) + lengths.shape[1] - there.sum(1, keepdim=True)


def tree_lengths(points):
    """Edge lengths (N, V - 1) of minimum spanning trees of points (N, V, D)."""
    lengths = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    size = lengths.shape[1]
    for _ in range(max(size - 2, 1).bit_length()):
        lengths = torch.maximum(lengths.unsqueeze(2), lengths.unsqueeze(1)).amin(3)
    return (lengths + torch.full_like(lengths[0], 1e9).tril()).amin(1)[:, 1:]


class TopologyUnit(nn.Module):
    """Encodings (N, E, 1, 1) -> what a block's input gets, (N, C, 1, 1)."""

    def __init__(self, num_elements: int, num_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(num_elements, num_channels, 1)
        self.norm = nn.BatchNorm2d(num_channels)

    def forward(self, topology):
        return F.relu(self.norm(self.conv(topology)))


class GraphUnit(nn.Module):
    """Graph convolution in groups of channels, plus the input."""

    def __init__(self, in_channels: int, out_channels: int, hops: torch.Tensor, num_groups: int):
        super().__init__()
        shape = (NUM_SUBSETS, num_groups, 1, 1)
        self.adjacency = nn.Parameter(torch.eye(len(hops)).repeat(shape))
        self.by_hops = nn.Parameter(torch.zeros(*shape[:2], int(hops.max()) + 1))
        self.register_buffer("hops", hops, persistent=False)
        self.conv = nn.Conv2d(in_channels, NUM_SUBSETS * out_channels, 1, groups=num_groups)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(in_channels, out_channels)

    def forward(self, x):
        n, c, t, v = x.shape
        groups = self.adjacency.shape[1]
        graphs = normalised(self.adjacency) + normalised(self.by_hops[:, :, self.hops])
        weights, biases = self.conv.weight.chunk(NUM_SUBSETS), self.conv.bias.chunk(NUM_SUBSETS)
        rows = x.view(n, groups, -1, v)
        out = sum(
            F.conv2d(torch.matmul(rows, graphs[k]).view(n, c, t, v), weight, bias, groups=groups)
            for k, (weight, bias) in enumerate(zip(weights, biases, strict=True))
        )
        return F.relu(self.norm(out) + added(x, self.shortcut))


def normalised(graphs):
    """Graphs (K, G, V, V) with columns of length one."""
    return graphs / ((graphs.square().sum(2, keepdim=True) + 1e-24).sqrt() + 1e-4)
