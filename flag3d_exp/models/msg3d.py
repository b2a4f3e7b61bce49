"""MS-G3D: Disentangling and Unifying Graph Convolutions for Skeleton-Based Action Recognition
(arXiv 2003.14111).

Sizes: N clips, M persons, T frames, V joints, C channels, K scales, W frames of a window.
"""

from math import prod
from typing import Annotated

import numpy as np
from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Normal, Uniform, initializer

from flag3d_exp.models import published as names
from flag3d_exp.models.graph import KeypointNorm, graph_product
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import BatchNorm, ConvNorm
from flag3d_exp.models.temporal import Branches
from flag3d_exp.skeletons.layout import adjacency, load_layout, multi_scale, over_window


class ScaleConv(nn.Cell):
    """Graph convolution over all scales, each with learned deviations; batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, graphs: np.ndarray):
        super().__init__()
        self.adjacency = Parameter(graphs.copy(), name="adjacency", requires_grad=False)
        self.deviation = Parameter(initializer(Uniform(1e-6), graphs.shape), name="deviation")
        self.conv = ConvNorm(len(graphs) * in_channels, out_channels, relu=True)

    def construct(self, x):
        edges = self.adjacency + self.deviation
        return self.conv(graph_product(x, edges))

    def multiply_adds(self, x, _out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return self.adjacency.shape[0] * prod(x) * x[3]


class TemporalUnit(nn.Cell):
    """Branches over three frames at four dilations, plus the input; batch norm before."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, relu: bool = True):
        super().__init__()
        self.branches = Branches(in_channels, out_channels, stride)
        self.norm = BatchNorm(out_channels)
        self.relu_of_sum = kernels().relu_of_sum
        self.shortcut = None
        if in_channels != out_channels or stride != 1:
            self.shortcut = ConvNorm(in_channels, out_channels, stride=(stride, 1))
        self.relu = relu

    def construct(self, x):
        out = self.norm(self.branches(x))
        residual = x if self.shortcut is None else self.shortcut(x)
        return self.relu_of_sum(out, residual) if self.relu else out + residual


class WindowUnit(nn.Cell):
    """Graph convolution over the joints of W frames at once, then over the window."""

    def __init__(
        self, in_channels: int, out_channels: int, graphs: np.ndarray, window: int, stride: int
    ):
        super().__init__()
        width = out_channels if in_channels == 3 else in_channels
        self.scales = ScaleConv(in_channels, width, graphs)
        # Use the fan-out of the published (1, W, 1) kernel, which is a 1x1 kernel here.
        init = Normal((2 / (window * out_channels)) ** 0.5)
        self.collapse = ConvNorm(window * width, out_channels, init=init)
        self.window, self.stride = window, stride

    def construct(self, x):
        n, c, t, v = x.shape
        w = self.window
        t = (t - 1) // self.stride + 1
        x = ops.unfold(x, (w, 1), 1, (w // 2, 0), (self.stride, 1))
        x = x.reshape(n, c, w, t, v).transpose(0, 1, 3, 2, 4).reshape(n, c, t, w * v)
        x = self.scales(x)
        c = x.shape[1]
        x = x.reshape(n, c, t, w, v).transpose(0, 1, 3, 2, 4)
        return self.collapse(x.reshape(n, c * w, t, v))


class Stage(nn.Cell):
    """Sum of a spatial-then-temporal path and one windowed path per window size."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        graphs: np.ndarray,
        window_graphs: dict[int, np.ndarray],
    ):
        super().__init__()
        width = out_channels if in_channels == 3 else in_channels
        self.scales = ScaleConv(in_channels, width, graphs)
        self.first = TemporalUnit(width, out_channels, stride)
        self.second = TemporalUnit(out_channels, out_channels, relu=False)
        self.windows = nn.CellList(
            [
                WindowUnit(in_channels, out_channels, window_graph, window, stride)
                for window, window_graph in window_graphs.items()
            ]
        )
        self.temporal = TemporalUnit(out_channels, out_channels)

    def construct(self, x):
        out = self.second(self.first(self.scales(x)))
        for window in self.windows:
            out = out + window(x)
        return self.temporal(ops.relu(out))


class MSG3D(nn.Cell):
    """keypoints (N, M, T, V, C) -> features (N, M, C', T', V).

    Args:
        layout: name or YAML file of the joints' layout.
        num_stages: each stage after the first doubles the channels and halves the frames.
        num_scales, num_window_scales: numbers of hop distances, including 0, of the spatial and
            the windowed paths.
        window_sizes: frames of each windowed path; odd.
        dropout: share of the features that the head drops in training.

    Attributes:
        features: channels C' of the output.
    """

    published = (
        (r"^norm\.norm\.", "backbone.data_bn."),
        (r"^head\.", "cls_head.fc_cls."),
        (r"^stages\.(\d)\.windows\.(\d)\.scales\.", r"backbone.gcn3d<\1>.gcn3d.\2.gcn3d.1."),
        (r"^stages\.(\d)\.windows\.(\d)\.collapse\.", r"backbone.gcn3d<\1>.gcn3d.\2.out_"),
        (r"^stages\.(\d)\.scales\.", r"backbone.sgcn<\1>.0."),
        (r"^stages\.(\d)\.first\.", r"backbone.sgcn<\1>.1."),
        (r"^stages\.(\d)\.second\.", r"backbone.sgcn<\1>.2."),
        (r"^stages\.(\d)\.temporal\.", r"backbone.tcn<\1>."),
        (r"\.adjacency$", ".A"),
        (r"\.deviation$", ".PA"),
        (r"(\.0|3d\.1)\.conv\.conv\.", r"\1.mlp.layers.0."),
        (r"(\.0|3d\.1)\.conv\.norm\.", r"\1.mlp.layers.1."),
        (r"\.branches\.entry\.conv\.", ".branches.{0,1,2,3,4}.0."),
        (r"\.branches\.entry\.norm\.", ".branches.{0,1,2,3,4}.1."),
        (r"\.branches\.convs\.(\d)\.", r".branches.\1.3.conv."),
        (r"\.branches\.plain\.", ".branches.5.0."),
        (
            r"(sgcn<\d>\.\d|\.tcn<\d>)\.norm\.",
            r"\1.branches.{0.3.bn,1.3.bn,2.3.bn,3.3.bn,4.4,5.1}.",
        ),
        (r"out_norm", "out_bn"),
        *names.COMMON,
    )

    def __init__(
        self,
        layout: str,
        num_channels: int = 3,
        num_persons: int = 1,
        base_channels: Annotated[int, ">= 6"] = 96,
        num_stages: Annotated[int, ">= 1"] = 3,
        num_scales: Annotated[int, ">= 1"] = 13,
        num_window_scales: Annotated[int, ">= 1"] = 6,
        window_sizes: tuple[Annotated[int, ">= 1, odd"], ...] = (3, 5),
        dropout: Annotated[float, ">= 0, < 1"] = 0.0,
    ):
        super().__init__()
        skeleton = load_layout(layout)
        connected = adjacency(skeleton, "binary_adj")[0]
        graphs = multi_scale(connected, num_scales)
        window_graphs = {
            size: multi_scale(over_window(connected, size), num_window_scales)
            for size in window_sizes
        }
        self.norm = KeypointNorm(skeleton.num_joints, num_channels, num_persons)
        channels = [num_channels, *(base_channels * 2**number for number in range(num_stages))]
        self.stages = nn.CellList(
            [
                Stage(
                    channels[number],
                    channels[number + 1],
                    min(number, 1) + 1,
                    graphs,
                    window_graphs,
                )
                for number in range(num_stages)
            ]
        )
        self.features, self.dropout = channels[-1], dropout

    def construct(self, keypoints):
        x = self.norm(keypoints)  # (N * M, C, T, V)
        for stage in self.stages:
            x = stage(x)
        n, m = keypoints.shape[:2]
        return x.reshape(n, m, *x.shape[1:])
