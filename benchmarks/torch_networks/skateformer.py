"""SkateFormer: attention within windows of joints and frames, beside two convolutions."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from flag3d_exp.models.skateformer_inputs import (
    KERNEL,
    NUM_GROUPS,
    NUM_HEADS,
    STEM,
    evenly_spread,
    frequencies,
    joints_of,
)
from torch_networks.layers import conv_norm


class SkateFormer(nn.Module):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes)."""

    def __init__(self, settings: Mapping[str, Any]):
        super().__init__()
        asked = settings["joint_order"], settings["window_joints"], settings["num_persons"]
        order, joints = joints_of(settings["layout"], *asked)
        num_joints = settings["num_persons"] * len(order)
        channels, counts = settings["stage_channels"], settings["stage_blocks"]
        widths = [settings["num_channels"], *STEM, channels[0]]
        self.stem = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.embedding = nn.Parameter(0.02 * torch.randn(channels[0], num_joints))
        self.register_buffer("rates", torch.tensor(frequencies(channels[0])), persistent=False)
        self.order, self.num_channels = list(order), settings["num_channels"]
        rates = iter(torch.linspace(0, settings["drop_path"], sum(counts)).tolist())
        windows = [
            Window(settings["window_frames"], joints[strided], strided_frames, strided)
            for strided_frames, strided in product((False, True), repeat=2)
        ]
        stages, before = [], channels[0]
        for stage, (width, count) in enumerate(zip(channels, counts, strict=True)):
            blocks = []
            for number in range(count):
                halved = stage > 0 and number == 0
                dropout = settings["attention_dropout"], next(rates)
                sizes = before, width, halved, num_joints, settings["mlp_ratio"]
                blocks.append(Block(*sizes, windows, *dropout))
                before = width
            stages.append(nn.ModuleList(blocks))
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(before, settings["num_classes"])

    def forward(self, keypoints):
        n, _, t, _, c = keypoints.shape
        if c > self.num_channels:
            times = keypoints[:, 0, :, 0, -1:]  # (N, T, 1)
        else:
            times = torch.tensor(evenly_spread(t), device=keypoints.device).view(1, t, 1)
        x = keypoints[:, :, :, self.order, : self.num_channels].transpose(1, 2).flatten(2, 3)
        for number, layer in enumerate(self.stem):
            x = layer(x if number == 0 else F.gelu(x))
        angles = times * self.rates
        code = torch.stack([angles.sin(), angles.cos()], -1).flatten(2)  # (N, T, C)
        x = x + code.unsqueeze(2) * self.embedding.T
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return self.head(x.mean((1, 2)))


class Window:
    """A division of (N, T, V, C) into windows of frames and joints."""

    def __init__(self, frames: int, joints: int, strided_frames: bool, strided_joints: bool):
        self.frames, self.joints = frames, joints
        self.strided_frames, self.strided_joints = strided_frames, strided_joints

    def divided(self, x):
        """(N, T, V, C) -> (N, windows, tokens, C)."""
        n, t, v, c = x.shape
        frames = sides(t, self.frames, self.strided_frames)
        joints = sides(v, self.joints, self.strided_joints)
        x = self.exchanged(x.reshape(n, *frames, *joints, c))
        return x.transpose(2, 3).reshape(n, -1, self.frames * self.joints, c)

    def joined(self, x, t: int, v: int):
        """The inverse of `divided`."""
        n, _, _, c = x.shape
        sizes = t // self.frames, v // self.joints, self.frames, self.joints
        return self.exchanged(x.reshape(n, *sizes, c).transpose(2, 3)).reshape(n, t, v, c)

    def exchanged(self, x):
        """The axes of windows and tokens exchanged where a window is strided."""
        if self.strided_frames:
            x = x.transpose(1, 2)
        return x.transpose(3, 4) if self.strided_joints else x


def sides(number: int, within: int, strided: bool) -> tuple[int, int]:
    """How an axis is divided: windows, tokens; tokens, windows if a window is strided."""
    return (within, number // within) if strided else (number // within, within)


class Attention(nn.Module):
    """Queries, keys and values (N, T, V, 3C) -> (N, T, V, C)."""

    def __init__(self, window: Window, dropout: float):
        super().__init__()
        self.window, self.dropout = window, nn.Dropout(dropout)
        pairs = window.joints if window.strided_joints else 1
        frames = torch.arange(window.frames)
        apart = frames[:, None] - frames + window.frames - 1
        shape = 2 * window.frames - 1, pairs, pairs, NUM_HEADS
        self.table = nn.Parameter(0.02 * torch.randn(shape))
        self.register_buffer("apart", apart, persistent=False)

    def forward(self, x):
        t, v = x.shape[1:3]
        x = self.window.divided(x)
        n, w, length, _ = x.shape
        x = x.reshape(n * w, length, 3, NUM_HEADS, -1).permute(2, 0, 3, 1, 4)
        query, key, value = x.unbind()  # (N * W, heads, tokens, channels)
        scores = query * NUM_HEADS**-0.5 @ key.transpose(2, 3) + self.bias()
        out = self.dropout(scores.softmax(-1)) @ value
        return self.window.joined(out.transpose(1, 2).reshape(n, w, length, -1), t, v)

    def bias(self):
        """(heads, tokens, tokens)."""
        bias = self.table[self.apart].permute(4, 0, 2, 1, 3)  # (heads, frames, b, frames, b)
        side = bias.shape[1] * bias.shape[2]
        bias = bias.reshape(NUM_HEADS, side, side)
        if self.window.strided_joints:
            return bias
        return bias.repeat(1, self.window.joints, self.window.joints)


class Block(nn.Module):
    """Graph convolution, temporal convolution and four attentions, then dense layers."""

    def __init__(
        self,
        in_channels: int,
        width: int,
        halved: bool,
        num_joints: int,
        mlp_ratio: float,
        windows: list[Window],
        attention_dropout: float,
        drop_path: float,
    ):
        super().__init__()
        self.downsample = conv_norm(in_channels, width, KERNEL, 2) if halved else None
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mapping, self.proj = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.joints = nn.Parameter(0.02 * torch.randn(NUM_GROUPS, num_joints, num_joints))
        kernel = (KERNEL, 1), 1, (KERNEL // 2, 0)
        self.frames = nn.Conv2d(width // 4, width // 4, *kernel, groups=NUM_GROUPS)
        self.attentions = nn.ModuleList(Attention(one, attention_dropout) for one in windows)
        self.widen = nn.Linear(width, int(width * mlp_ratio))
        self.narrow = nn.Linear(int(width * mlp_ratio), width)
        self.shares = [width // 4, width // 4, *[3 * width // 8] * len(windows)]
        self.drop_path = drop_path

    def forward(self, x):
        if self.downsample is not None:
            x = self.downsample(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        for_joints, for_frames, *rest = self.mapping(self.norm_1(x)).split(self.shares, 3)
        grouped = for_joints.unflatten(3, (NUM_GROUPS, -1))
        parts = [torch.einsum("ntvgc,gwv->ntwgc", grouped, self.joints).flatten(3)]
        parts.append(self.frames(for_frames.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        parts += [attend(part) for attend, part in zip(self.attentions, rest, strict=True)]
        x = x + self.kept(self.proj(torch.cat(parts, 3)))
        return x + self.kept(self.narrow(F.gelu(self.widen(self.norm_2(x)))))

    def kept(self, branch):
        """Stochastic depth."""
        if not self.training or self.drop_path == 0:
            return branch
        kept = torch.rand(branch.shape[0], 1, 1, 1, device=branch.device) >= self.drop_path
        return branch * kept / (1 - self.drop_path)
