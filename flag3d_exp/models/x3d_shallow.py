"""X3D-shallow over heatmaps: PoseC3D's smallest network (arXiv 2104.13586, 2004.04730).

X3D without squeeze-and-excitation and swish, cut to three stages.
Sizes: N clips, M persons, T frames, V joints or limbs, C channels; volumes are (N * T, C, H, W).
"""

from typing import Annotated

from mindspore import nn

from flag3d_exp.models.heatmap import Heatmaps
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.volume import VolumeConv, VolumeUnit, clips_of_frames
from flag3d_exp.skeletons.layout import load_layout


class Bottleneck(nn.Cell):
    """Widen, apply a depthwise convolution, narrow, add the input."""

    def __init__(self, in_channels: int, out_channels: int, factor: float, stride: int):
        super().__init__()
        width = int(factor * out_channels)
        self.widen = VolumeUnit(in_channels, width)
        self.conv = VolumeUnit(width, width, (3, 3, 3), stride, relu=False, depthwise=True)
        self.narrow = VolumeUnit(width, out_channels, relu=False, scale=0.0)
        self.relu_of_sum = kernels().relu_of_sum
        self.shortcut = None
        if in_channels != out_channels or stride != 1:
            self.shortcut = VolumeUnit(in_channels, out_channels, stride=stride, relu=False)

    def construct(self, x, num_frames):
        out = self.narrow(self.conv(self.widen(x, num_frames), num_frames), num_frames)
        return self.relu_of_sum(out, x if self.shortcut is None else self.shortcut(x, num_frames))


class X3D(nn.Cell):
    """Heatmaps (N * T, V, H, W) -> features (N * T, C, H', W')."""

    def __init__(
        self,
        in_channels: int,
        base_channels: int,
        factor: float,
        stage_blocks: tuple[int, ...],
        spatial_strides: tuple[int, ...],
    ):
        super().__init__()
        self.stem = VolumeConv(in_channels, base_channels, (1, 3, 3), stride=2)
        self.stem_frames = VolumeUnit(base_channels, base_channels, (5, 1, 1), depthwise=True)
        stages, channels, width = [], base_channels, base_channels
        for count, stride in zip(stage_blocks, spatial_strides, strict=True):
            blocks = [Bottleneck(channels, width, factor, stride)]
            blocks += [Bottleneck(width, width, factor, 1) for _ in range(count - 1)]
            stages.append(nn.CellList(blocks))
            channels, width = width, 2 * width
        self.stages = nn.CellList(stages)
        self.num_features = int(factor * channels)
        self.last = VolumeUnit(channels, self.num_features)

    def construct(self, x, num_frames):
        x = self.stem_frames(self.stem(x, num_frames), num_frames)
        for stage in self.stages:
            for block in stage:
                x = block(x, num_frames)
        return self.last(x, num_frames)


class X3DShallow(nn.Cell):
    """keypoints (N, M, T, V, 3) of x, y in heatmap pixels and score.

    -> features (N, 1, C, T', H', W'), the persons joined.

    Args:
        layout: name or YAML file of the joints' layout.
        limbs: draw limbs instead of joints.
        train_size, test_size: side of the heatmaps, in pixels, in training and otherwise.
        sigma: of the heatmaps' Gaussians, in pixels.
        factor: width of a block's middle, and of the last layer, relative to the block's output.
        stage_blocks, spatial_strides: of each stage; widths double from stage to stage.
        dropout: share of the features that the head drops in training.

    Attributes:
        features: channels C of the output.
    """

    published = (
        (r"^head\.", "cls_head.fc_cls."),
        (r"^network\.stem\.", "backbone.conv1_s.conv."),
        (r"^network\.stem_frames\.", "backbone.conv1_t."),
        (r"^network\.last\.", "backbone.conv5."),
        (r"^network\.stages\.(\d+)\.", r"backbone.layer<\1>."),
        (r"\.widen\.", ".conv1."),
        (r"\.(\d+)\.conv\.(conv|norm)\.", r".\1.conv2.\2."),
        (r"\.narrow\.", ".conv3."),
        (r"\.shortcut\.", ".downsample."),
        (r"\.norm\.", ".bn."),
    )

    def __init__(
        self,
        layout: str,
        limbs: bool = False,
        train_size: Annotated[int, ">= 1"] = 56,
        test_size: Annotated[int, ">= 1"] = 64,
        sigma: Annotated[float, "> 0"] = 0.6,
        base_channels: Annotated[int, ">= 1"] = 24,
        factor: Annotated[float, ">= 1 / base_channels"] = 2.25,
        stage_blocks: Annotated[tuple[Annotated[int, ">= 1"], ...], "not empty"] = (2, 5, 3),
        spatial_strides: Annotated[
            tuple[Annotated[int, ">= 1"], ...], "as long as stage_blocks"
        ] = (2, 2, 2),
        dropout: Annotated[float, ">= 0, < 1"] = 0.5,
    ):
        super().__init__()
        self.heatmaps = Heatmaps(load_layout(layout), limbs, train_size, test_size, sigma)
        self.network = X3D(
            self.heatmaps.num_maps, base_channels, factor, stage_blocks, spatial_strides
        )
        self.features, self.dropout = self.network.num_features, dropout

    def construct(self, keypoints):
        return self.volume_features(self.heatmaps(keypoints), keypoints.shape[2])

    def volume_features(self, heatmaps, num_frames):
        """heatmaps (N * T, V, H, W) -> features (N, 1, C, T', H', W')."""
        return clips_of_frames(self.network(heatmaps, num_frames), heatmaps.shape[0] // num_frames)
