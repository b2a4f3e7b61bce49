"""VideoPose3D: 3D human pose estimation in video with temporal convolutions and semi-supervised
training (CVPR 2019, arXiv 1811.11742).

All joints of a person are concatenated in the channels. Every frame gets features; frames beyond
the clip are zeros.

Sizes: N clips, M persons, T frames, V joints, C channels.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from mindspore import nn

from flag3d_exp.errors import UserError
from flag3d_exp.models.layers import ConvNorm
from flag3d_exp.skeletons.layout import load_layout

KERNEL = 3  # frames of a convolution


class VideoPose(nn.Cell):
    """keypoints (N, M, T, V, C) -> features (N, M, C', T, 1).

    Args:
        layout: name or YAML file of the joints' layout.
        num_channels: of a joint.
        num_persons: M.
        channels: C'.
        dilations: of the first layer and of each block after it; (1, 3, 9) covers 27 frames.
        layer_dropout: share of the activations that training drops after each layer.
        dropout: share of the features that a pooling head drops in training.

    Attributes:
        features: channels C' of the output.
    """

    def __init__(
        self,
        layout: str,
        num_channels: int = 3,
        num_persons: int = 1,
        channels: Annotated[int, ">= 1"] = 1024,
        dilations: tuple[Annotated[int, ">= 1"], ...] = (1, 3, 9),
        layer_dropout: Annotated[float, ">= 0, < 1"] = 0.25,
        dropout: Annotated[float, ">= 0, < 1"] = 0.0,
    ):
        super().__init__()
        if not dilations:
            raise UserError("`model.dilations` must have at least one number; got [].")
        self.num_inputs = load_layout(layout).num_joints * num_channels
        self.features, self.layer_dropout, self.dropout = channels, layer_dropout, dropout
        first, *others = dilations
        self.entry = ConvNorm(
            self.num_inputs, channels, (KERNEL, 1), dilation=(first, 1), relu=True
        )
        self.blocks = nn.CellList([Block(channels, dilation) for dilation in others])

    def chance(self, shape: Sequence[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """`kept_0`, ... (1, C', T, N*M), a factor for each layer: 0 or 1 / (1 - layer_dropout).

        Args:
            shape: of the keypoints.
        """
        if not self.layer_dropout:
            return {}
        size = (1, self.features, shape[2], shape[0] * shape[1])
        scale = np.float32(1 / (1 - self.layer_dropout))
        return {
            f"kept_{layer}": (rng.random(size, np.float32) >= self.layer_dropout) * scale
            for layer in range(1 + 2 * len(self.blocks))
        }

    def construct(self, keypoints, *kept):
        """kept: the arrays from `chance`, or nothing."""
        m, t = keypoints.shape[1:3]
        x = keypoints.reshape(-1, t, self.num_inputs)
        if self.training:
            # Clips are in the last axis, like joints in graph models: one product for all of them.
            x = x.transpose(2, 1, 0).expand_dims(0)  # (1, V*C, T, N*M)
        else:
            x = x.transpose(0, 2, 1).expand_dims(-1)  # (N*M, V*C, T, 1)
        x = self.entry(x)
        if len(kept) > 0:
            x = x * kept[0]
        for number, block in enumerate(self.blocks):
            x = block(x, *kept[2 * number + 1 : 2 * number + 3])
        if self.training:
            x = x.transpose(3, 1, 2, 0)  # (N*M, C', T, 1)
        return x.reshape(-1, m, self.features, t, 1)


class Block(nn.Cell):
    """A dilated convolution and a 1x1 convolution, added to the input, for (N, C, T, V)."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.wide = ConvNorm(channels, channels, (KERNEL, 1), dilation=(dilation, 1), relu=True)
        self.narrow = ConvNorm(channels, channels, relu=True)

    def construct(self, x, *kept):
        y = self.wide(x)
        if len(kept) > 0:
            y = y * kept[0]
        y = self.narrow(y)
        if len(kept) > 0:
            y = y * kept[1]
        return x + y
