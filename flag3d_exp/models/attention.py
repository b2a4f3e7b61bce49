"""Attention within windows of joints and frames (SkateFormer), for (N, T, V, C).

Sizes: N clips, T frames, V joints of all persons, C channels, H heads, W windows of a clip, L
tokens of a window. A token is a joint in a frame; tokens are ordered by frame.
"""

from dataclasses import dataclass

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer


@dataclass(frozen=True)
class Partition:
    """How frames and joints are divided into windows.

    Args:
        frames, joints: numbers of frames and of joints in a window.
        strided_frames: a window has every (T / frames)-th frame instead of consecutive frames.
        strided_joints: a window has every (V / joints)-th joint instead of consecutive joints.
    """

    frames: int
    joints: int
    strided_frames: bool
    strided_joints: bool


def windows(x, partition):
    """x (N, T, V, C) -> (N * W, L, C)."""
    n, t, v, c = x.shape
    a, b = partition.frames, partition.joints
    if partition.strided_frames and partition.strided_joints:
        x = x.reshape(n, a, t // a, b, v // b, c).transpose(0, 2, 4, 1, 3, 5)
    elif partition.strided_frames:
        x = x.reshape(n, a, t // a * v // b, b * c).transpose(0, 2, 1, 3)
    elif partition.strided_joints:
        x = x.reshape(n * t // a, a * b, v // b, c).transpose(0, 2, 1, 3)
    else:
        x = x.reshape(n * t // a, a, v // b, b * c).transpose(0, 2, 1, 3)
    return x.reshape(n * t * v // (a * b), a * b, c)


def from_windows(x, partition, shape):
    """x (N * W, L, C) -> (N, T, V, C), the inverse of `windows`; `shape` is (N, T, V)."""
    n, t, v = shape
    c = x.shape[2]
    a, b = partition.frames, partition.joints
    if partition.strided_frames and partition.strided_joints:
        x = x.reshape(n, t // a, v // b, a, b, c).transpose(0, 3, 1, 4, 2, 5)
    elif partition.strided_frames:
        x = x.reshape(n, t // a * v // b, a, b * c).transpose(0, 2, 1, 3)
    elif partition.strided_joints:
        x = x.reshape(n * t // a, v // b, a * b, c).transpose(0, 2, 1, 3)
    else:
        x = x.reshape(n * t // a, v // b, a, b * c).transpose(0, 2, 1, 3)
    return x.reshape(n, t, v, c)


class Attention(nn.Cell):
    """Queries, keys and values (N, T, V, 3C) -> (N, T, V, C), within the windows of a partition.

    With strided joints, the bias of a pair of tokens depends on both joints and on the difference
    of their frames. Otherwise it is a table of frames by frames, tiled over the tokens: the row is
    the token's number modulo the frames. Products are scaled by the number of heads, not by their
    width. Both are as in the authors' code.
    """

    def __init__(self, partition: Partition, num_heads: int):
        super().__init__()
        a, b = partition.frames, partition.joints
        pairs = (b, b) if partition.strided_joints else (1, 1)
        table = initializer(Normal(0.02), (2 * a - 1, *pairs, num_heads))
        self.table = Parameter(table, name="table")
        apart = np.arange(a)[:, None] - np.arange(a) + a - 1  # (frames, frames)
        at = apart.reshape(-1, 1) == np.arange(2 * a - 1)
        self.at = Tensor(at.astype(np.float32))  # (frames * frames, 2 frames - 1)
        self.partition, self.num_heads = partition, num_heads
        self.likeness = ops.BatchMatMul(transpose_b=True)

    def construct(self, x, mask=None):
        """mask: ((N, W * H, L, L), true for pairs to keep; factor on these pairs)."""
        shape, heads = x.shape[:3], self.num_heads
        x = windows(x, self.partition)
        count, length, width = x.shape
        x = x.reshape(count, length, 3, heads, width // (3 * heads)).transpose(2, 0, 3, 1, 4)
        query, key, value = ops.unbind(x.reshape(3, count, heads, length, width // (3 * heads)))
        scores = self.likeness(query * heads**-0.5, key) + self.bias()
        shares = ops.softmax(scores, -1)  # (N * W, H, L, L)
        if mask is not None:
            kept, scale = mask
            shares = shares * (kept.reshape(shares.shape).astype(shares.dtype) * scale)
        out = ops.bmm(shares, value).transpose(0, 2, 1, 3)  # (N * W, L, H, C / H)
        return from_windows(out.reshape(count, length, width // 3), self.partition, shape)

    def bias(self):
        """(H, L, L)."""
        a, b = self.partition.frames, self.partition.joints
        pairs = self.table.shape[1]
        bias = ops.matmul(self.at, self.table.reshape(self.table.shape[0], -1))
        bias = bias.reshape(a, a, pairs, pairs, self.num_heads).transpose(4, 0, 2, 1, 3)
        bias = bias.reshape(self.num_heads, a * pairs, a * pairs)
        return bias if pairs == b else ops.tile(bias, (1, b, b))

    def multiply_adds(self, x, out):
        """Multiply-adds of similarities and of the weighted sums of values."""
        return 2 * out[0] * out[1] * out[2] * out[3] * self.partition.frames * self.partition.joints


def mask_shape(partition: Partition, num_heads: int, shape: tuple[int, int, int]) -> tuple:
    """(N, W * H, L, L) of `Attention`'s mask for x of (N, T, V)."""
    n, t, v = shape
    length = partition.frames * partition.joints
    return n, t * v // length * num_heads, length, length
