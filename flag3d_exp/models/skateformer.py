"""SkateFormer: Skeletal-Temporal Transformer for Human Action Recognition (ECCV 2024, arXiv
2403.09508).

The joints of all persons are concatenated. Each block divides its channels among a graph
convolution, a temporal convolution and four attentions with different windows.

Sizes: N clips, M persons, T frames, V joints of all persons, C channels.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Initializer, Normal, initializer

from flag3d_exp.errors import UserError
from flag3d_exp.models.attention import Attention, Partition, mask_shape
from flag3d_exp.models.dense import Dense, LayerNorm, uniform
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import ConvNorm
from flag3d_exp.models.skateformer_inputs import (
    KERNEL,
    NUM_GROUPS,
    NUM_HEADS,
    STEM,
    evenly_spread,
    frequencies,
    joints_of,
)


class SkateFormer(nn.Cell):
    """keypoints (N, M, T, V, C) -> features (N, 1, C', T', V').

    Args:
        layout: name or YAML file of the joints' layout.
        num_channels: of the stream.
        num_persons: M.
        time_channel: the last channel of the keypoints is the time of the frame, from -1 to 1;
            otherwise frames are assumed to be evenly spread over the recording.
        clip_len: frames of a clip T.
        joint_order: joints to use, ordered by limb; None: the layout's known order, or all joints.
        window_joints: numbers of consecutive and of strided joints in a window, which must divide
            the number of joints; None: the layout's known numbers, or suitable divisors.
        window_frames: frames of a window.
        stage_channels: channels of each stage; all stages except the first halve the frames.
        stage_blocks: blocks of each stage.
        mlp_ratio: width of a block's dense layers, relative to the block.
        attention_dropout: share of the token pairs that attentions drop in training.
        drop_path: probability of dropping the last block's branches in training; it grows linearly
            from block to block.
        dropout: share of the features that the head drops in training.

    Attributes:
        features: channels C' of the output.
    """

    published = (
        (r"^embedding$", "joint_person_embedding"),
        (r"^stem\.0\.", "stem.0."),
        (r"^stem\.2\.", "stem.4."),
        (r"^stem\.1\.", "stem.2."),
        (r"^stages\.(\d)\.(\d)\.", r"stages.\1.blocks.\2."),
        (r"\.downsample\.conv\.", ".downsample.reduction."),
        (r"\.downsample\.norm\.", ".downsample.bn."),
        (r"\.(norm_\d|mapping|proj)\.", r".transformer.\1."),
        (r"\.joints$", ".transformer.gconv"),
        (r"\.frames\.", ".transformer.tconv."),
        (r"\.attentions\.(\d)\.table$", r".transformer.attention.\1.relative_position_bias_table"),
        (r"\.widen\.", ".transformer.mlp.fc1."),
        (r"\.narrow\.", ".transformer.mlp.fc2."),
    )

    def __init__(
        self,
        layout: str,
        num_channels: int = 3,
        num_persons: int = 1,
        time_channel: bool = False,
        clip_len: Annotated[int, ">= 1"] = 64,
        joint_order: Sequence[str | int] | None = None,
        window_joints: tuple[Annotated[int, ">= 1"], ...] | None = None,
        window_frames: Annotated[int, ">= 1"] = 8,
        stage_channels: tuple[Annotated[int, ">= 1"], ...] = (96, 192, 192, 192),
        stage_blocks: tuple[Annotated[int, ">= 1"], ...] = (2, 2, 2, 2),
        mlp_ratio: Annotated[float, "> 0"] = 4.0,
        attention_dropout: Annotated[float, ">= 0, < 1"] = 0.5,
        drop_path: Annotated[float, ">= 0, < 1"] = 0.2,
        dropout: Annotated[float, ">= 0, < 1"] = 0.0,
    ):
        super().__init__()
        if len(stage_channels) != len(stage_blocks):
            raise UserError(
                "`model.stage_channels` and `model.stage_blocks` must be of one length; got "
                f"{list(stage_channels)} and {list(stage_blocks)}."
            )
        for width in stage_channels:
            if width % (4 * NUM_GROUPS):
                raise UserError(
                    f"`model.stage_channels` must be multiples of {4 * NUM_GROUPS}; got {width}."
                )
        least = window_frames * 2 ** (len(stage_channels) - 1)
        if clip_len % least:
            raise UserError(
                f"`dataset.clip_len` must be a multiple of {least} for SkateFormer "
                f"(`model.window_frames` times 2 for each stage after the first); got {clip_len}."
            )
        self.order, joints = joints_of(layout, joint_order, window_joints, num_persons)
        num_joints = num_persons * len(self.order)
        partitions = [
            Partition(window_frames, joints[strided], strided_frames, strided)
            for strided_frames in (False, True)
            for strided in (False, True)
        ]
        widths = (num_channels, *STEM, stage_channels[0])
        self.stem = nn.CellList([Dense(i, o) for i, o in zip(widths[:-1], widths[1:], strict=True)])
        embedding = initializer(Normal(0.02), (stage_channels[0], num_joints))
        self.embedding = Parameter(embedding, name="embedding")
        before, stages = stage_channels[0], []
        for stage, (width, count) in enumerate(zip(stage_channels, stage_blocks, strict=True)):
            blocks = []
            for number in range(count):
                halved = stage > 0 and number == 0
                blocks.append(Block(before, width, halved, num_joints, partitions, mlp_ratio))
                before = width
            stages.append(nn.CellList(blocks))
        self.stages = nn.CellList(stages)
        self.picked = Tensor(np.array(self.order, np.int32))
        self.num_channels, self.time_channel = num_channels, time_channel
        self.frequencies = Tensor(frequencies(stage_channels[0]))
        self.partitions, self.num_joints = partitions, num_joints
        self.stage_blocks, self.clip_len = tuple(stage_blocks), clip_len
        self.attention_dropout, self.drop_path = attention_dropout, drop_path
        self.features, self.dropout = stage_channels[-1], dropout
        self.gelu = kernels().gelu

    def head_init(self, num_classes: int) -> tuple[Initializer, Initializer]:
        """The initializers of the classifier's weight and bias: PyTorch's of a dense layer."""
        return uniform(self.features), uniform(self.features)

    def construct(self, keypoints, *masks):
        """masks: the arrays from `chance`."""
        n, m, t, _, c = keypoints.shape
        if self.time_channel and c > self.num_channels:
            times = keypoints[:, 0, :, 0, c - 1 :]  # (N, T, 1)
            keypoints = keypoints[..., : self.num_channels]
        else:
            times = ops.tile(Tensor(evenly_spread(t)).reshape(1, t, 1), (n, 1, 1))
        x = ops.gather(keypoints, self.picked, 3).transpose(0, 2, 1, 3, 4)  # (N, T, M, V / M, C)
        x = x.reshape(n, t, self.num_joints, self.num_channels)
        for number, layer in enumerate(self.stem):
            x = layer(x) if number == 0 else layer(self.gelu(x))
        code = self.time_code(times).reshape(n, t, 1, x.shape[3])
        x = x + code * self.embedding.T
        number = 0
        for stage in self.stages:
            for block in stage:
                x = block(x, *self.of_block(masks, number))
                number += 1
        return x.transpose(0, 3, 1, 2).expand_dims(1)

    def time_code(self, times):
        """(N, T, 1) -> (N, T, C): alternating sines and cosines."""
        angles = times * self.frequencies
        return ops.stack([ops.sin(angles), ops.cos(angles)], -1).reshape(*times.shape[:2], -1)

    def of_block(self, masks, number):
        """Scales (N, 2) of a block's branches and masks of its attentions; None if not drawn."""
        paths, pairs = None, None
        if len(masks) > 0 and self.drop_path > 0:
            paths = masks[0][:, 2 * number : 2 * number + 2]
        if len(masks) > 0 and self.attention_dropout > 0:
            first = int(self.drop_path > 0) + 4 * number
            scale = 1 / (1 - self.attention_dropout)
            pairs = [(mask, scale) for mask in masks[first : first + 4]]
        return paths, pairs

    def chance(self, shape: Sequence[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """`paths` (N, 2 * blocks), 0 for dropped branches, and masks of the pairs to keep."""
        drawn = {}
        count, frames = shape[0], shape[2]
        if self.drop_path > 0:
            probabilities = np.linspace(0, self.drop_path, sum(self.stage_blocks)).repeat(2)
            kept = rng.random((count, len(probabilities))) >= probabilities
            drawn["paths"] = (kept / (1 - probabilities)).astype(np.float32)
        if self.attention_dropout > 0:
            number = 0
            for stage, blocks in enumerate(self.stage_blocks):
                for _ in range(blocks):
                    for kind, partition in enumerate(self.partitions):
                        size = (count, frames // 2**stage, self.num_joints)
                        wanted = mask_shape(partition, NUM_HEADS, size)
                        drawn[f"pairs_{number}_{kind}"] = kept_pairs(
                            wanted, self.attention_dropout, rng
                        )
                    number += 1
        return drawn

    def multiply_adds(self, _x, _out):
        """0: the embedding is an element-wise product."""
        return 0


class Block(nn.Cell):
    """(N, T, V, C) -> (N, T', V, C'): parallel convolutions and attentions, then dense layers."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        halved: bool,
        num_joints: int,
        partitions: Sequence[Partition],
        mlp_ratio: float,
    ):
        super().__init__()
        self.downsample = None
        if halved:
            fan_in = in_channels * KERNEL
            self.downsample = ConvNorm(
                in_channels, out_channels, (KERNEL, 1), (2, 1), init=uniform(fan_in)
            )
            bias = self.downsample.conv.bias
            bias.set_data(initializer(uniform(fan_in), bias.shape))
        width = out_channels
        self.norm_1 = LayerNorm(width)
        self.mapping = Dense(width, 2 * width)
        graphs = initializer(Normal(0.02), (NUM_GROUPS, num_joints, num_joints))
        self.joints = Parameter(graphs, name="joints")
        self.frames = GroupedFrames(width // 4)
        self.attentions = nn.CellList([Attention(one, NUM_HEADS) for one in partitions])
        self.proj = Dense(width, width)
        self.norm_2 = LayerNorm(width)
        self.widen = Dense(width, int(width * mlp_ratio))
        self.narrow = Dense(int(width * mlp_ratio), width)
        self.shares = [width // 4, width // 4, *[3 * width // 8] * len(partitions)]
        self.product = ops.BatchMatMul(transpose_b=True)
        self.gelu = kernels().gelu

    def construct(self, x, paths=None, pairs=None):
        """paths (N, 2): factors on the branches; pairs: the mask of each `Attention`."""
        if self.downsample is not None:
            x = self.downsample(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
        for_joints, for_frames, *rest = ops.split(self.mapping(self.norm_1(x)), self.shares, 3)
        parts = [self.over_joints(for_joints), self.frames(for_frames)]
        for number, attend in enumerate(self.attentions):
            parts.append(attend(rest[number], None if pairs is None else pairs[number]))
        x = x + scaled_branch(self.proj(ops.concat(parts, 3)), paths, 0)
        dense = self.narrow(self.gelu(self.widen(self.norm_2(x))))
        return x + scaled_branch(dense, paths, 1)

    def over_joints(self, x):
        """The graph convolution: each group of channels has a (V, V) matrix."""
        n, t, v, c = x.shape
        width = c // NUM_GROUPS
        x = x.reshape(n * t, v, NUM_GROUPS, width).transpose(2, 0, 3, 1)  # (G, N * T, C / G, V)
        x = self.product(x.reshape(NUM_GROUPS, n * t * width, v), self.joints)
        x = x.reshape(NUM_GROUPS, n * t, width, v).transpose(1, 3, 0, 2)
        return x.reshape(n, t, v, c)

    def multiply_adds(self, x, _out):
        """Multiply-adds of the graph convolution; layers count the rest."""
        frames = x[1] if self.downsample is None else x[1] // 2
        return x[0] * frames * x[2] ** 2 * self.shares[0]


class GroupedFrames(nn.Cell):
    """Convolution over frames of (N, T, V, C), in groups of channels.

    Computed as one matrix product with the frames under the kernel; weights between different
    groups are zero.
    """

    def __init__(self, num_channels: int):
        super().__init__()
        width = num_channels // NUM_GROUPS
        init = uniform(width * KERNEL)
        shape = (num_channels, width, KERNEL, 1)
        self.weight = Parameter(initializer(init, shape), name="weight")
        self.bias = Parameter(initializer(init, num_channels), name="bias")
        group = np.arange(num_channels) // width
        self.same = Tensor((group[:, None] == group).astype(np.float32))  # (C, C)
        self.product = ops.MatMul(transpose_b=True)

    def construct(self, x):
        n, t, v, c = x.shape
        zeros = ops.zeros((n, KERNEL // 2, v, c), x.dtype)
        padded = ops.concat([zeros, x, zeros], 1)
        frames = ops.concat([padded[:, k : k + t] for k in range(KERNEL)], 3)
        weight = ops.tile(self.weight.reshape(c, -1, KERNEL), (1, NUM_GROUPS, 1))
        weight = weight * self.same.expand_dims(2)  # (C', C, kernel)
        weight = weight.transpose(0, 2, 1).reshape(c, KERNEL * c)
        out = self.product(frames.reshape(n * t * v, KERNEL * c), weight)
        return ops.bias_add(out, self.bias).reshape(n, t, v, c)

    def multiply_adds(self, _x, out):
        """Multiply-adds of a grouped convolution, without the zeros."""
        return out[0] * out[1] * out[2] * self.weight.size


def scaled_branch(x, paths, number):
    """A branch (N, T, V, C) times the clip's factor, column `number` of paths (N, 2)."""
    if paths is None:
        return x
    return x * paths[:, number].reshape(x.shape[0], 1, 1, 1)


def kept_pairs(shape: Sequence[int], probability: float, rng: np.random.Generator) -> np.ndarray:
    """Random bools, false with `probability`, rounded to 1 / 256: one byte is drawn for each."""
    drawn = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8)
    return (drawn >= round(256 * probability)).reshape(shape)
