"""Layers that several networks share; sizes and names as in flag3d_exp.models.layers."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F


def conv(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """Convolution over frames, padded so that stride 1 keeps their number."""
    padding = (kernel - 1) * dilation // 2
    return nn.Conv2d(
        in_channels, out_channels, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1)
    )


def conv_norm(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1
) -> nn.Sequential:
    """Convolution over frames, then batch norm."""
    layers = {
        "conv": conv(in_channels, out_channels, kernel, stride),
        "norm": nn.BatchNorm2d(out_channels),
    }
    return nn.Sequential(OrderedDict(layers))


def shortcut(in_channels: int, out_channels: int, stride: int = 1) -> nn.Module | None:
    """A layer that fits a residual to the output's shape; None if the shapes are equal."""
    if in_channels == out_channels and stride == 1:
        return None
    return conv_norm(in_channels, out_channels, stride=stride)


def added(x: torch.Tensor, fitting: nn.Module | None) -> torch.Tensor:
    """The residual."""
    return x if fitting is None else fitting(x)


class Block(nn.Module):
    """Graph unit, then temporal unit, plus the input."""

    def __init__(
        self,
        graph: nn.Module,
        temporal: nn.Module,
        in_channels: int,
        out_channels: int,
        stride: int,
        residual: bool,
    ):
        super().__init__()
        self.graph, self.temporal, self.residual = graph, temporal, residual
        self.shortcut = shortcut(in_channels, out_channels, stride) if residual else None

    def forward(self, x):
        out = self.temporal(self.graph(x))
        return F.relu(out + added(x, self.shortcut) if self.residual else out)


class KeypointNorm(nn.Module):
    """(N, M, T, V, C) -> (N * M, C, T, V), every coordinate normalised."""

    def __init__(self, num_joints: int, num_channels: int, num_persons: int = 1):
        super().__init__()
        self.norm = nn.BatchNorm1d(num_persons * num_joints * num_channels)
        self.num_persons = num_persons

    def forward(self, keypoints):
        n, m, t, v, c = keypoints.shape
        x = keypoints.permute(0, 1, 3, 4, 2)  # (N, M, V, C, T)
        x = self.norm(x.reshape(n * m // self.num_persons, self.num_persons * v * c, t))
        return x.view(n * m, v, c, t).permute(0, 2, 3, 1).contiguous()


class Branches(nn.Module):
    """Dilated convolutions, a maximum over three frames and a plain 1x1 convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel: int = 3,
        dilations: tuple[int, ...] = (1, 2, 3, 4),
    ):
        super().__init__()
        share = out_channels // (len(dilations) + 2)
        self.widths = [out_channels - share * (len(dilations) + 1)] + [share] * len(dilations)
        self.stride = stride
        self.entry = conv_norm(in_channels, sum(self.widths))
        convs = [
            conv(w, w, kernel, stride, d) for w, d in zip(self.widths, dilations, strict=False)
        ]
        self.convs = nn.ModuleList(convs)
        self.plain = conv(in_channels, share, stride=stride)

    def forward(self, x):
        *narrow, last = F.relu(self.entry(x)).split(self.widths, 1)
        out = [layer(part) for layer, part in zip(self.convs, narrow, strict=True)]
        largest = F.max_pool2d(last, (3, 1), (self.stride, 1), (1, 0))
        return torch.cat([*out, largest, self.plain(x)], 1)


class MultiBranch(nn.Module):
    """Branches, batch norm, ReLU, a 1x1 convolution that mixes them, batch norm (ST-GCN++)."""

    def __init__(self, num_channels: int, stride: int):
        super().__init__()
        self.branches = Branches(num_channels, num_channels, stride)
        self.norm = nn.BatchNorm2d(num_channels)
        self.mix = conv_norm(num_channels, num_channels)

    def forward(self, x):
        return self.mix(F.relu(self.norm(self.branches(x))))


class FiveFrames(nn.Module):
    """Branches over five frames, batch norm (BlockGCN, CTR-GCN)."""

    def __init__(self, num_channels: int, stride: int):
        super().__init__()
        self.branches = Branches(num_channels, num_channels, stride, 5, (1, 2))
        self.norm = nn.BatchNorm2d(num_channels)

    def forward(self, x):
        return self.norm(self.branches(x))
