"""C3D-light over heatmaps: PoseC3D's smaller plain network (arXiv 2104.13586).

Sizes: N clips, M persons, T frames, V joints or limbs, C channels; volumes are (N * T, C, H, W).
"""

from typing import Annotated

from mindspore import nn

from flag3d_exp.models import published as names
from flag3d_exp.models.heatmap import Heatmaps
from flag3d_exp.models.volume import VolumeUnit, clips_of_frames
from flag3d_exp.skeletons.layout import load_layout


class C3D(nn.Cell):
    """Heatmaps (N * T, V, H, W) -> features (N * T, C, H / 8, W / 8).

    3x3x3 convolutions; each stage after the first begins with average pooling over 2 x 2 pixels.
    """

    def __init__(self, in_channels: int, base_channels: int, stage_convs: tuple[int, ...]):
        super().__init__()
        stages, channels, width = [], in_channels, base_channels
        for count in stage_convs:
            widths = [channels] + [width] * (count - 1)
            stages.append(nn.CellList([VolumeUnit(n, width, (3, 3, 3)) for n in widths]))
            channels, width = width, 2 * width
        self.stages = nn.CellList(stages)
        self.num_features = channels

    def construct(self, x, num_frames):
        for number, stage in enumerate(self.stages):
            if number > 0:
                x = mean_of_pixels(x)
            for conv in stage:
                x = conv(x, num_frames)
        return x


class C3DLight(nn.Cell):
    """keypoints (N, M, T, V, 3) of x, y in heatmap pixels and score.

    -> features (N, 1, C, T', H', W'), the persons joined.

    Args:
        layout: name or YAML file of the joints' layout.
        limbs: draw limbs instead of joints.
        train_size, test_size: side of the heatmaps, in pixels, in training and otherwise; the
            published four stages halve it three times.
        sigma: of the heatmaps' Gaussians, in pixels.
        stage_convs: convolutions of each stage; widths double from stage to stage.
        dropout: share of the features that the head drops in training.

    Attributes:
        features: channels C of the output.
    """

    published = (
        (r"^head\.", "cls_head.fc_cls."),
        (r"^network\.stages\.(\d)\.0\.", r"backbone.conv<\1>a."),
        (r"^network\.stages\.(\d)\.1\.", r"backbone.conv<\1>b."),
        *names.COMMON,
    )

    def __init__(
        self,
        layout: str,
        limbs: bool = False,
        train_size: Annotated[int, ">= 8"] = 56,
        test_size: Annotated[int, ">= 8"] = 64,
        sigma: Annotated[float, "> 0"] = 0.6,
        base_channels: Annotated[int, ">= 1"] = 32,
        stage_convs: Annotated[tuple[Annotated[int, ">= 1"], ...], "not empty"] = (1, 1, 2, 2),
        dropout: Annotated[float, ">= 0, < 1"] = 0.5,
    ):
        super().__init__()
        self.heatmaps = Heatmaps(load_layout(layout), limbs, train_size, test_size, sigma)
        self.network = C3D(self.heatmaps.num_maps, base_channels, stage_convs)
        self.features, self.dropout = self.network.num_features, dropout

    def construct(self, keypoints):
        return self.volume_features(self.heatmaps(keypoints), keypoints.shape[2])

    def volume_features(self, heatmaps, num_frames):
        """heatmaps (N * T, V, H, W) -> features (N, 1, C, T', H', W')."""
        return clips_of_frames(self.network(heatmaps, num_frames), heatmaps.shape[0] // num_frames)


def mean_of_pixels(x):
    """(N * T, C, H, W) -> (N * T, C, H // 2, W // 2)."""
    nt, c, h, w = x.shape
    if h % 2 or w % 2:  # full-axis slices are slow on a CPU
        x = x[:, :, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(nt, c, h // 2, 2, w // 2, 2).mean((3, 5))
