"""MS-G3D: stages of a spatial-then-temporal path and of windowed paths."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flag3d_exp.skeletons.layout import adjacency, load_layout, multi_scale, over_window
from torch_networks.layers import (
    Branches,
    KeypointNorm,
    added,
    conv_norm,
    shortcut,
)


class ScaleConv(nn.Module):
    """Graph convolution over all scales, each with learned deviations."""

    def __init__(self, in_channels: int, out_channels: int, graphs: np.ndarray):
        super().__init__()
        self.adjacency = nn.Parameter(torch.tensor(graphs), requires_grad=False)
        self.deviation = nn.Parameter(torch.empty(graphs.shape).uniform_(-1e-6, 1e-6))
        self.conv = conv_norm(len(graphs) * in_channels, out_channels)

    def forward(self, x):
        n, _, t, v = x.shape
        x = torch.einsum("nctv,kvw->nkctw", x, self.adjacency + self.deviation)
        return F.relu(self.conv(x.reshape(n, -1, t, v)))


class TemporalUnit(nn.Module):
    """Branches over three frames at four dilations, plus the input."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, relu: bool = True):
        super().__init__()
        self.branches = Branches(in_channels, out_channels, stride)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(in_channels, out_channels, stride)
        self.relu = relu

    def forward(self, x):
        out = self.norm(self.branches(x)) + added(x, self.shortcut)
        return F.relu(out) if self.relu else out


class WindowUnit(nn.Module):
    """Graph convolution over the joints of several frames at once, then over the window."""

    def __init__(
        self, in_channels: int, out_channels: int, graphs: np.ndarray, window: int, stride: int
    ):
        super().__init__()
        width = out_channels if in_channels == 3 else in_channels
        self.scales = ScaleConv(in_channels, width, graphs)
        self.collapse = conv_norm(window * width, out_channels)
        self.window, self.stride = window, stride

    def forward(self, x):
        n, c, t, v = x.shape
        w = self.window
        t = (t - 1) // self.stride + 1
        x = F.unfold(x, (w, 1), padding=(w // 2, 0), stride=(self.stride, 1))
        x = x.view(n, c, w, t, v).transpose(2, 3).reshape(n, c, t, w * v)
        x = self.scales(x).view(n, -1, t, w, v).transpose(2, 3)
        return self.collapse(x.reshape(n, -1, t, v))


class Stage(nn.Module):
    """Sum of the spatial-then-temporal path and of one windowed path per window size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        graphs: np.ndarray,
        window_graphs: Mapping[int, np.ndarray],
    ):
        super().__init__()
        width = out_channels if in_channels == 3 else in_channels
        self.scales = ScaleConv(in_channels, width, graphs)
        self.first = TemporalUnit(width, out_channels, stride)
        self.second = TemporalUnit(out_channels, out_channels, relu=False)
        windows = [
            WindowUnit(in_channels, out_channels, window_graph, size, stride)
            for size, window_graph in window_graphs.items()
        ]
        self.windows = nn.ModuleList(windows)
        self.temporal = TemporalUnit(out_channels, out_channels)

    def forward(self, x):
        out = self.second(self.first(self.scales(x)))
        for window in self.windows:
            out = out + window(x)
        return self.temporal(F.relu(out))


class MSG3D(nn.Module):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes)."""

    def __init__(self, settings: Mapping[str, Any]):
        super().__init__()
        skeleton = load_layout(settings["layout"])
        connected = adjacency(skeleton, "binary_adj")[0]
        graphs = multi_scale(connected, settings["num_scales"])
        window_graphs = {
            size: multi_scale(over_window(connected, size), settings["num_window_scales"])
            for size in settings["window_sizes"]
        }
        num_channels = settings["num_channels"]
        self.norm = KeypointNorm(skeleton.num_joints, num_channels, settings["num_persons"])
        stages, in_channels, out_channels = [], num_channels, settings["base_channels"]
        for number in range(settings["num_stages"]):
            stride = 1 if number == 0 else 2
            stages.append(Stage(in_channels, out_channels, stride, graphs, window_graphs))
            in_channels, out_channels = out_channels, 2 * out_channels
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(in_channels, settings["num_classes"])

    def forward(self, keypoints):
        x = self.norm(keypoints)
        for stage in self.stages:
            x = stage(x)
        features = x.mean((2, 3)).view(keypoints.shape[0], -1, x.shape[1]).mean(1)
        return self.head(features)
