"""Networks over heatmaps (N, V, T, H, W): SlowOnly, C3D-light, X3D-shallow."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn import functional as F

from flag3d_exp.skeletons.layout import load_layout
from torch_networks.layers import added

Sizes = tuple[int, int, int]  # of frames, rows, columns


def conv(
    in_channels: int,
    out_channels: int,
    kernel: Sizes = (1, 1, 1),
    stride: Sizes = (1, 1, 1),
    groups: int = 1,
) -> nn.Conv3d:
    """Convolution without bias, padded so that stride 1 keeps the size."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Conv3d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)


def unit(layer: nn.Conv3d, relu: bool = True) -> nn.Sequential:
    """Convolution, batch norm and, if `relu`, ReLU."""
    layers: dict[str, nn.Module] = {"conv": layer, "norm": nn.BatchNorm3d(layer.out_channels)}
    if relu:
        layers["relu"] = nn.ReLU()
    return nn.Sequential(OrderedDict(layers))


def shortcut(in_channels: int, out_channels: int, stride: Sizes) -> nn.Module | None:
    """A layer that fits a residual to the output's shape; None if the shapes are equal."""
    if in_channels == out_channels and stride == (1, 1, 1):
        return None
    return unit(conv(in_channels, out_channels, stride=stride), relu=False)


class VolumeNetwork(nn.Module):
    """Heatmaps (N, V, T, H, W) -> logits (N, num_classes)."""

    def __init__(self, network: nn.Module, num_features: int, settings: Mapping[str, Any]):
        super().__init__()
        self.network = network
        self.head = nn.Linear(num_features, settings["num_classes"])

    def forward(self, heatmaps):
        return self.head(self.network(heatmaps).mean((2, 3, 4)))


class SlowBottleneck(nn.Module):
    """Narrow, convolve, widen to four times `width`, add the input."""

    def __init__(self, in_channels: int, width: int, frames: int, stride: int, skip: int):
        super().__init__()
        self.narrow = unit(conv(in_channels, width, (frames, 1, 1)))
        self.conv = unit(conv(width, width, (1, 3, 3), (skip, stride, stride)))
        self.widen = unit(conv(width, 4 * width), relu=False)
        self.shortcut = shortcut(in_channels, 4 * width, (skip, stride, stride))

    def forward(self, x):
        return F.relu(self.widen(self.conv(self.narrow(x))) + added(x, self.shortcut))


class SlowOnly(nn.Module):
    """A ResNet whose last stages convolve over frames."""

    def __init__(self, in_channels: int, settings: Mapping[str, Any]):
        super().__init__()
        width = channels = settings["base_channels"]
        self.stem = unit(conv(in_channels, width, (1, 7, 7)))
        keys = ("stage_blocks", "temporal_kernels", "spatial_strides", "temporal_strides")
        stages = []
        for count, frames, stride, skip in zip(*(settings[key] for key in keys), strict=True):
            blocks = [SlowBottleneck(channels, width, frames, stride, skip)]
            channels = 4 * width
            blocks += [SlowBottleneck(channels, width, frames, 1, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            width *= 2
        self.stages = nn.Sequential(*stages)
        self.num_features = channels

    def forward(self, x):
        x = F.max_pool3d(self.stem(x), (1, 3, 3), 1, (0, 1, 1))
        return self.stages(x)


class C3D(nn.Module):
    """Plain convolutions with pooling between them."""

    def __init__(self, in_channels: int, settings: Mapping[str, Any]):
        super().__init__()
        stages, channels, width = [], in_channels, settings["base_channels"]
        for count in settings["stage_convs"]:
            widths = [channels] + [width] * (count - 1)
            stages.append(nn.Sequential(*(unit(conv(n, width, (3, 3, 3))) for n in widths)))
            channels, width = width, 2 * width
        self.stages = nn.ModuleList(stages)
        self.num_features = channels

    def forward(self, x):
        for number, stage in enumerate(self.stages):
            x = stage(F.avg_pool3d(x, (1, 2, 2)) if number else x)
        return x


class DepthwiseBottleneck(nn.Module):
    """Widen, convolve each channel by itself, narrow, add the input."""

    def __init__(self, in_channels: int, out_channels: int, factor: float, stride: int):
        super().__init__()
        width = int(factor * out_channels)
        depthwise = conv(width, width, (3, 3, 3), (1, stride, stride), groups=width)
        self.widen = unit(conv(in_channels, width))
        self.conv = unit(depthwise, relu=False)
        self.narrow = unit(conv(width, out_channels), relu=False)
        self.shortcut = shortcut(in_channels, out_channels, (1, stride, stride))

    def forward(self, x):
        return F.relu(self.narrow(self.conv(self.widen(x))) + added(x, self.shortcut))


class X3D(nn.Module):
    """A ResNet of depthwise bottlenecks."""

    def __init__(self, in_channels: int, settings: Mapping[str, Any]):
        super().__init__()
        width = channels = settings["base_channels"]
        factor = settings["factor"]
        self.stem = conv(in_channels, width, (1, 3, 3), (1, 2, 2))
        self.stem_frames = unit(conv(width, width, (5, 1, 1), groups=width))
        stages = []
        for count, stride in zip(
            settings["stage_blocks"], settings["spatial_strides"], strict=True
        ):
            blocks = [DepthwiseBottleneck(channels, width, factor, stride)]
            blocks += [DepthwiseBottleneck(width, width, factor, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            channels, width = width, 2 * width
        self.stages = nn.Sequential(*stages)
        self.num_features = int(factor * channels)
        self.last = unit(conv(channels, self.num_features))

    def forward(self, x):
        return self.last(self.stages(self.stem_frames(self.stem(x))))


def posec3d(settings: Mapping[str, Any]) -> nn.Module:
    """PoseC3D (arXiv 2104.13586), from its heatmaps on."""
    network = SlowOnly(num_maps(settings), settings)
    return VolumeNetwork(network, network.num_features, settings)


def c3d_light(settings: Mapping[str, Any]) -> nn.Module:
    """C3D-light (arXiv 2104.13586), from its heatmaps on."""
    network = C3D(num_maps(settings), settings)
    return VolumeNetwork(network, network.num_features, settings)


def x3d_shallow(settings: Mapping[str, Any]) -> nn.Module:
    """X3D-shallow (arXiv 2104.13586), from its heatmaps on."""
    network = X3D(num_maps(settings), settings)
    return VolumeNetwork(network, network.num_features, settings)


def num_maps(settings: Mapping[str, Any]) -> int:
    """The number of heatmaps per frame: limbs or joints."""
    layout = load_layout(settings["layout"])
    return len(layout.limbs) if settings["limbs"] else layout.num_joints
