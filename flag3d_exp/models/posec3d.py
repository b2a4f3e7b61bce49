"""PoseC3D: Revisiting Skeleton-Based Action Recognition (arXiv 2104.13586), SlowOnly networks.

A ResNet-50 over heatmaps, cut to three stages and narrowed; the published variants have
`stage_blocks` (4, 6, 3) and (3, 4, 6).
Sizes: N clips, M persons, T frames, V joints or limbs, C channels; volumes are (N * T, C, H, W).
"""

from typing import Annotated

from mindspore import nn

from flag3d_exp.errors import UserError
from flag3d_exp.models.heatmap import Heatmaps
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.kernels.frames import every_nth_frame
from flag3d_exp.models.volume import VolumeUnit, clips_of_frames
from flag3d_exp.skeletons.layout import load_layout


class Bottleneck(nn.Cell):
    """Narrow, convolve, widen to four times `width`, add the input."""

    def __init__(
        self, in_channels: int, width: int, frames: int, stride: int, temporal_stride: int
    ):
        super().__init__()
        out_channels = 4 * width
        self.narrow = VolumeUnit(in_channels, width, (frames, 1, 1))
        self.conv = VolumeUnit(width, width, (1, 3, 3), stride)
        self.widen = VolumeUnit(width, out_channels, relu=False, scale=0.0)
        self.relu_of_sum = kernels().relu_of_sum
        self.shortcut = None
        if in_channels != out_channels or stride != 1 or temporal_stride != 1:
            self.shortcut = VolumeUnit(in_channels, out_channels, stride=stride, relu=False)
        self.temporal_stride = temporal_stride

    def construct(self, x, num_frames):
        """num_frames: of the input; the output has ceil(num_frames / temporal_stride) frames."""
        out = every_nth_frame(self.narrow(x, num_frames), num_frames, self.temporal_stride)
        x = every_nth_frame(x, num_frames, self.temporal_stride)
        num_frames = (num_frames - 1) // self.temporal_stride + 1
        out = self.widen(self.conv(out, num_frames), num_frames)
        return self.relu_of_sum(out, x if self.shortcut is None else self.shortcut(x, num_frames))


class SlowOnly(nn.Cell):
    """Heatmaps (N * T, V, H, W) -> features (N * T', C, H', W')."""

    def __init__(
        self,
        in_channels: int,
        base_channels: int,
        stage_blocks: tuple[int, ...],
        temporal_kernels: tuple[int, ...],
        spatial_strides: tuple[int, ...],
        temporal_strides: tuple[int, ...],
    ):
        super().__init__()
        self.stem = VolumeUnit(in_channels, base_channels, (1, 7, 7))
        self.pool = nn.MaxPool2d(3, 1, pad_mode="same")
        stages, channels, width = [], base_channels, base_channels
        settings = (stage_blocks, temporal_kernels, spatial_strides, temporal_strides)
        for count, frames, stride, temporal_stride in zip(*settings, strict=True):
            blocks = [Bottleneck(channels, width, frames, stride, temporal_stride)]
            channels = 4 * width
            blocks += [Bottleneck(channels, width, frames, 1, 1) for _ in range(count - 1)]
            stages.append(nn.CellList(blocks))
            width *= 2
        self.stages = nn.CellList(stages)
        self.num_features = channels

    def construct(self, x, num_frames):
        x = self.pool(self.stem(x, num_frames))
        for stage in self.stages:
            for block in stage:
                x = block(x, num_frames)
                num_frames = (num_frames - 1) // block.temporal_stride + 1
        return x


class PoseC3D(nn.Cell):
    """keypoints (N, M, T, V, 3) of x, y in heatmap pixels and score.

    -> features (N, 1, C, T', H', W'), the persons joined.

    Args:
        layout: name or YAML file of the joints' layout.
        limbs: draw limbs instead of joints.
        train_size, test_size: side of the heatmaps, in pixels, in training and otherwise.
        sigma: of the heatmaps' Gaussians, in pixels.
        stage_blocks, temporal_kernels, spatial_strides, temporal_strides: of each stage; widths
            double from stage to stage. Temporal kernels are odd.
        dropout: share of the features that the head drops in training.

    Attributes:
        features: channels C of the output.
    """

    published = (
        (r"^network\.stem\.", "backbone.conv1."),
        (r"^network\.stages\.(\d+)\.", r"backbone.layer<\1>."),
        (r"^head\.", "cls_head.fc_cls."),
        (r"\.narrow\.", ".conv1."),
        (r"\.(\d+)\.conv\.(conv|norm)\.", r".\1.conv2.\2."),
        (r"\.widen\.", ".conv3."),
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
        base_channels: Annotated[int, ">= 1"] = 32,
        stage_blocks: Annotated[tuple[Annotated[int, ">= 1"], ...], "not empty"] = (4, 6, 3),
        temporal_kernels: Annotated[
            tuple[Annotated[int, ">= 1, odd"], ...], "as long as stage_blocks"
        ] = (1, 3, 3),
        spatial_strides: Annotated[
            tuple[Annotated[int, ">= 1"], ...], "as long as stage_blocks"
        ] = (2, 2, 2),
        temporal_strides: Annotated[
            tuple[Annotated[int, ">= 1"], ...], "as long as stage_blocks"
        ] = (1, 1, 2),
        dropout: Annotated[float, ">= 0, < 1"] = 0.5,
    ):
        super().__init__()
        stages = (stage_blocks, temporal_kernels, spatial_strides, temporal_strides)
        if len({len(stage) for stage in stages}) != 1:
            raise UserError(
                "`model.stage_blocks`, `model.temporal_kernels`, `model.spatial_strides` and "
                "`model.temporal_strides` must be "
                f"of one length; got {', '.join(str(list(stage)) for stage in stages)}."
            )
        self.heatmaps = Heatmaps(load_layout(layout), limbs, train_size, test_size, sigma)
        self.network = SlowOnly(self.heatmaps.num_maps, base_channels, *stages)
        self.features, self.dropout = self.network.num_features, dropout

    def construct(self, keypoints):
        return self.volume_features(self.heatmaps(keypoints), keypoints.shape[2])

    def volume_features(self, heatmaps, num_frames):
        """heatmaps (N * T, V, H, W) -> features (N, 1, C, T', H', W')."""
        return clips_of_frames(self.network(heatmaps, num_frames), heatmaps.shape[0] // num_frames)
