"""A backbone with a head that counts: whether each frame repeats, and how long a repetition is.

After RepNet (Dwibedi et al., Counting Out Time, CVPR 2020): the similarity of each frame with the
frames around it shows the length of a repetition, whatever is repeated. Here the similarities are
arranged by lag, so that a convolution over time treats all frames alike.

Sizes: N clips, M persons, T frames, V joints, C channels, H heads, L = 2 * max_lag + 1 lags;
features (N, M, C', T', V') of each joint, V' = V, or of the whole body, V' = 1.
"""

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Normal, initializer

from flag3d_exp.errors import UserError
from flag3d_exp.models.layers import ConvNorm, Mean

KERNEL, DILATIONS = 5, (1, 2, 4)  # of the convolutions over time
LAG_CHANNELS = 16
TYPICAL_LENGTH = 16.0  # frames, the length that an untrained network predicts


class Counter(nn.Cell):
    """keypoints (N, M, T, V, C) -> (N, T, 2): the logit of repeating, and the log of the length.

    The length is that of a repetition, in frames of the clip. Parameters of the backbone keep their
    names; those of the head are `head.<name>`.

    Args:
        backbone: returns features of joints, or of whole persons; see `Reconstructor`.
        shape: (1, M, T, V, C) of one clip.
        heads: H.
        width: channels of the head.

    Raises:
        UserError: the backbone's features are not of persons, or have too few frames.
    """

    def __init__(self, backbone: nn.Cell, shape: Sequence[int], heads: int, width: int):
        super().__init__(auto_prefix=False)
        found = backbone.set_train(False)(ops.zeros(tuple(shape), ms.float32)).shape
        _, num_persons, num_frames, num_joints, _ = shape
        if len(found) != 5 or found[1] != num_persons or found[4] not in (num_joints, 1):
            raise UserError(
                "`problem=count` needs a network whose features are of persons and joints, "
                f"such as `model=stgcn`; {type(backbone).__name__} gives an array of {found}."
            )
        if found[3] < 8:
            raise UserError(
                f"`problem=count` needs features of at least 8 frames; {type(backbone).__name__} "
                f"gives {found[3]}. Raise `dataset.clip_len`, now {num_frames}."
            )
        self.backbone = backbone
        self.head = CountHead(backbone.features, found[3], num_frames, heads, width)
        self.head.update_parameters_name("head.")

    def construct(self, keypoints, *drawn):
        """keypoints (N, M, T, V, C); drawn: the arrays from `backbone.chance`."""
        return self.head(self.backbone(keypoints, *drawn))


class CountHead(nn.Cell):
    """Mean over joints and persons, similarity of frames, convolutions over time.

    Args:
        num_features: C' of the backbone.
        num_steps: T', frames of the features.
        num_frames: T, frames of a clip.
        heads: H.
        width: channels.
    """

    def __init__(
        self, num_features: int, num_steps: int, num_frames: int, heads: int, width: int
    ) -> None:
        super().__init__()
        self.heads, self.num_frames = heads, num_frames
        self.ratio = -(-num_frames // num_steps)
        self.max_lag = num_steps // 2
        self.mean = Mean((3,))
        self.entry = ConvNorm(num_features, width, relu=True)
        self.embedding = ConvNorm(width, width)
        self.log_scale = Parameter(np.zeros((1, heads, 1, 1), np.float32), name="log_scale")
        self.lags = ConvNorm(heads, LAG_CHANNELS, (3, 3), relu=True)
        num_lags = 2 * self.max_lag + 1
        self.over_lags = ConvNorm(LAG_CHANNELS * num_lags, width, relu=True)
        self.merge = ConvNorm(2 * width, width, relu=True)
        self.blocks = nn.CellList(
            [ConvNorm(width, width, (KERNEL, 1), dilation=(d, 1), relu=True) for d in DILATIONS]
        )
        self.weight = Parameter(initializer(Normal(0.01), (2 * self.ratio, width)), name="weight")
        start = np.zeros((2, self.ratio), np.float32)
        start[1] = math.log(TYPICAL_LENGTH)
        self.bias = Parameter(start.T.reshape(-1), name="bias")

    def construct(self, features):
        """features (N, M, C', T', V') -> (N, T, 2)."""
        n, m, c, t, _ = features.shape
        x = self.mean(features.reshape(n * m, c, t, -1))  # (N * M, C', T')
        x = x.reshape(n, m, c, t).mean(1).expand_dims(3)  # (N, C', T', 1)
        x = self.entry(x)
        found = self.lags(self.similarities(self.embedding(x)))  # (N, 16, T', L)
        found = found.transpose(0, 1, 3, 2).reshape(n, -1, t, 1)
        x = ops.concat([x, self.over_lags(found)], 1)
        x = self.merge(x)
        for block in self.blocks:
            x = x + block(x)
        x = x.reshape(n, -1, t).transpose(0, 2, 1)
        x = (ops.matmul(x, self.weight.T) + self.bias).astype(ms.float32)  # (N, T', 2 * ratio)
        return ops.narrow(x.reshape(n, t * self.ratio, 2), 1, 0, self.num_frames)

    def similarities(self, x):
        """x (N, width, T', 1) -> (N, H, T', L): of each frame with the frames around it.

        1: alike; 0: different, or outside the clip.
        """
        n, _, t, _ = x.shape
        x = x.astype(ms.float32).reshape(n * self.heads, -1, t)
        size = x.shape[1]
        products = ops.bmm(x.transpose(0, 2, 1), x)  # (N * H, T', T')
        squares = ops.square(x).sum(1)
        distances = squares.expand_dims(2) + squares.expand_dims(1) - 2 * products
        distances = distances.reshape(n, self.heads, t, t) * (1.0 / size)
        alike = ops.exp(-ops.relu(distances) * ops.exp(self.log_scale))
        return by_lag(alike, self.max_lag)

    def multiply_adds(self, x, _out):
        """Multiply-adds of one pass without the convolutions, for this shape of input."""
        return x[0] * x[3] * (self.weight.size + x[3] * self.embedding.conv.weight.shape[0])


def by_lag(pairs, max_lag: int):
    """(N, H, T, T) of pairs of frames -> (N, H, T, L): of each frame and a lag, 0 outside.

    Row t is shifted to the left by t: the rows, padded with zeros to a length of 3 T, are read
    again as rows that are one longer.
    """
    n, h, t, _ = pairs.shape
    zeros = ops.zeros((n, h, t, t), pairs.dtype)
    rows = ops.concat([zeros, pairs, zeros], 3).reshape(n, h, 3 * t * t)
    rows = ops.concat([rows, ops.zeros((n, h, t), pairs.dtype)], 2)
    rows = rows.reshape(n, h, t, 3 * t + 1)  # lag 0 is at column t
    return ops.narrow(rows, 3, t - max_lag, 2 * max_lag + 1)
