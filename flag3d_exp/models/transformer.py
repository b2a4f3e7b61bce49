"""A transformer encoder over the frames of a clip, as diffusion and autoencoder networks use it.

Layer norms come before attention and dense layers (Xiong et al., ICML 2020), which trains without
warm-up. The activation is x * sigmoid(1.702 x), an approximation of GELU: without compiled
kernels, the exact function takes half as long again on a CPU.

Sizes: N clips, L tokens, C channels, H heads.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
from mindspore import nn, ops

from flag3d_exp.errors import UserError
from flag3d_exp.models.dense import Dense, LayerNorm


class Encoder(nn.Cell):
    """(N, L, C) -> (N, L, C): layers of self-attention and dense layers, then a norm.

    Args:
        width: C.
        num_heads: H, which divides C.
        mlp_ratio: width of the dense layers, relative to C.

    Raises:
        UserError: `model.num_heads` does not divide `model.width`.
    """

    def __init__(self, width: int, num_layers: int, num_heads: int, mlp_ratio: float):
        super().__init__()
        if width % num_heads:
            raise UserError(
                f"`model.num_heads` must divide `model.width`; got {num_heads} and {width}."
            )
        self.layers = nn.CellList([Layer(width, num_heads, mlp_ratio) for _ in range(num_layers)])
        self.norm = LayerNorm(width)

    def construct(self, x, *kept):
        """kept: factors (N, L, C) of the two branches of each layer, or nothing."""
        for number, layer in enumerate(self.layers):
            x = layer(x, *kept[2 * number : 2 * number + 2])
        return self.norm(x)


class Layer(nn.Cell):
    """x + attention(norm(x)), then x + dense layers(norm(x)), for (N, L, C)."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float):
        super().__init__()
        self.norm_1 = LayerNorm(width)
        self.attention = SelfAttention(width, num_heads)
        self.norm_2 = LayerNorm(width)
        self.widen = Dense(width, int(width * mlp_ratio))
        self.narrow = Dense(int(width * mlp_ratio), width)

    def construct(self, x, *kept):
        branch = self.attention(self.norm_1(x))
        x = x + (branch * kept[0] if len(kept) > 0 else branch)
        branch = self.narrow(fast_gelu(self.widen(self.norm_2(x))))
        return x + (branch * kept[1] if len(kept) > 0 else branch)


class SelfAttention(nn.Cell):
    """(N, L, C) -> (N, L, C): each token attends to all tokens of its clip."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        # Three products are faster than one whose result is divided.
        self.query, self.key = Dense(width, width), Dense(width, width)
        self.value, self.proj = Dense(width, width), Dense(width, width)
        self.num_heads, self.scale = num_heads, (width // num_heads) ** -0.5
        self.likeness = ops.BatchMatMul(transpose_b=True)
        self.mix = ops.BatchMatMul()

    def construct(self, x):
        query = self.heads(self.query(x) * self.scale)
        shares = ops.softmax(self.likeness(query, self.heads(self.key(x))), -1)  # (N, H, L, L)
        out = self.mix(shares, self.heads(self.value(x)))  # (N, H, L, C / H)
        return self.proj(out.transpose(0, 2, 1, 3).reshape(x.shape))

    def heads(self, x):
        """(N, L, C) -> (N, H, L, C / H)."""
        n, length, width = x.shape
        x = x.reshape(n, length, self.num_heads, width // self.num_heads)
        return x.transpose(0, 2, 1, 3)

    def multiply_adds(self, x, _out):
        """Multiply-adds of similarities and of the weighted sums of values."""
        return 2 * prod(x) * x[1]


def fast_gelu(x):
    """An approximation of GELU (Hendrycks and Gimpel, arXiv 1606.08415)."""
    return x * ops.sigmoid(1.702 * x)


def kept_branches(
    shape: Sequence[int], num_layers: int, probability: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """`kept_0`, ..., factors of `Encoder` of `shape`: 0 or 1 / (1 - probability).

    Probabilities are rounded to 1 / 256, because one byte is drawn for each factor.
    """
    if not probability:
        return {}
    limit = min(round(256 * probability), 255)
    scale = np.float32(256 / (256 - limit))
    drawn = {}
    for number in range(2 * num_layers):
        bits = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape)
        drawn[f"kept_{number}"] = (bits >= limit) * scale
    return drawn


def positions(count: int, width: int) -> np.ndarray:
    """(count, width) float32: sines, then cosines, of each position at wavelengths from 2 pi on.

    From Vaswani et al. (NeurIPS 2017). `width` is even, or the last column is 0.
    """
    half = width // 2
    rates = 10_000.0 ** (-np.arange(half) / max(half, 1))
    angles = np.arange(count)[:, None] * rates
    made = np.zeros((count, width), np.float32)
    made[:, :half], made[:, half : 2 * half] = np.sin(angles), np.cos(angles)
    return made
