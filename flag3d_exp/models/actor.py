"""ACTOR: Action-Conditioned 3D Human Motion Synthesis with Transformer VAE (ICCV 2021, arXiv
2104.05670), on keypoints.

An encoder reads a clip and two tokens that depend on the condition; their outputs are the mean and
the logarithm of the variance of a latent vector. A decoder makes the clip from the latent vector
and the condition: its queries are the positions of the frames. Since the memory is one token, the
decoder's attention to it is one dense layer of it. Published: width 256, 8 layers; norms come first
here, see `models.transformer`.

Sizes: N clips, T frames, D features of a frame, C channels.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
from mindspore import Tensor, nn, ops

from flag3d_exp.models.dense import Dense, LayerNorm
from flag3d_exp.models.transformer import (
    Encoder,
    SelfAttention,
    fast_gelu,
    kept_branches,
    positions,
)
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.skeletons.motion import num_features

Decode = Callable[[np.ndarray], np.ndarray]  # latent vectors (N, C) -> clips (N, T, D)


class ACTOR(nn.Cell):
    """Latent vectors (N, C), conditions (N, C) -> clips (N, T, D).

    `Generator` trains it, on standardised features.

    Args:
        layout: name or YAML file of the joints' layout.
        clip_len: T.
        width: C.
        num_layers: layers of the encoder, and of the decoder.
        num_heads: attention heads, a divisor of `width`.
        mlp_ratio: width of a layer's dense layers, relative to `width`.
        kl_weight: weight of a clip's Kullback-Leibler divergence, the sum over the latent vector.
            The authors' 1e-5 is of the sum over a batch of 20 clips.
        layer_dropout: share of the numbers that training drops in each branch of the encoder.

    Attributes:
        features: C, the size of a condition and of a latent vector.
        num_inputs: D.
        temperature: factor on random latent vectors; may be set.
    """

    generates = True
    dropout = 0.0  # it has no pooling head
    completes = False

    def __init__(
        self,
        layout: str,
        clip_len: Annotated[int, ">= 2"] = 48,
        width: Annotated[int, ">= 2"] = 256,
        num_layers: Annotated[int, ">= 1"] = 8,
        num_heads: Annotated[int, ">= 1"] = 4,
        mlp_ratio: Annotated[float, "> 0"] = 4.0,
        kl_weight: Annotated[float, ">= 0"] = 2e-4,
        layer_dropout: Annotated[float, ">= 0, < 1"] = 0.1,
    ):
        super().__init__()
        self.features, self.num_layers, self.temperature = width, num_layers, 1.0
        self.layer_dropout, self.kl_weight = layer_dropout, kl_weight
        self.num_inputs = num_features(load_layout(layout))
        self.entry, self.exit = Dense(self.num_inputs, width), Dense(width, self.num_inputs)
        self.mean_token, self.spread_token = Dense(width, width), Dense(width, width)
        self.shift = Dense(width, width)
        self.encoder = Encoder(width, num_layers, num_heads, mlp_ratio)
        self.decoder = nn.CellList(
            [DecoderLayer(width, num_heads, mlp_ratio) for _ in range(num_layers)]
        )
        self.norm = LayerNorm(width)
        self.token_codes = Tensor(positions(clip_len + 2, width))
        self.frame_codes = Tensor(positions(clip_len, width))

    def construct(self, latent, condition):
        memory = latent + self.shift(condition)
        x = ops.tile(self.frame_codes.expand_dims(0), (latent.shape[0], 1, 1))
        for layer in self.decoder:
            x = layer(x, memory)
        return self.exit(self.norm(x))

    def training_outputs(self, clean, condition, *drawn):
        """Reconstructed and true clips (N, T, D), and the weighted divergence (N,) of each.

        Args:
            clean: (N, T, D), standardised.
            condition: (N, C).
            drawn: the arrays from `chance`; none in an evaluation, which takes the latent vector's
                mean.
        """
        tokens = ops.stack([self.mean_token(condition), self.spread_token(condition)], 1)
        x = ops.concat([tokens, self.entry(clean)], 1) + self.token_codes
        x = self.encoder(x, *drawn[1:])
        mean = ops.narrow(x, 1, 0, 1).reshape(condition.shape)
        log_variance = ops.narrow(x, 1, 1, 1).reshape(condition.shape)
        latent = mean
        if len(drawn) > 0:
            latent = mean + drawn[0] * ops.exp(0.5 * log_variance)
        squares = ops.square(mean) + ops.exp(log_variance)
        divergence = 0.5 * (squares - 1 - log_variance).sum(1)
        return self.construct(latent, condition), clean, divergence * self.kl_weight

    def chance(self, shape: Sequence[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The arrays for `training_outputs`: `noise` (N, C) of the latent vectors, and factors.

        Args:
            shape: (N, T, D).
        """
        n, t, _ = shape
        kept = (n, t + 2, self.features)
        return {
            "noise": rng.standard_normal((n, self.features), np.float32),
            **kept_branches(kept, self.num_layers, self.layer_dropout, rng),
        }

    def sample(
        self,
        decode: Decode,
        shape: Sequence[int],
        rngs: Sequence[np.random.Generator],
        known: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """(N, T, D) standardised clips of random latent vectors.

        Args:
            decode: clips from latent vectors.
            shape: (N, T, D).
            rngs: the generator of each clip.
            known: must be None: the network can't complete a clip.
        """
        assert known is None
        latent = [rng.standard_normal(self.features, np.float32) for rng in rngs]
        return decode(np.stack(latent) * np.float32(self.temperature))


class DecoderLayer(nn.Cell):
    """(N, T, C), memory (N, C) -> (N, T, C)."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float):
        super().__init__()
        self.norm_1, self.norm_2 = LayerNorm(width), LayerNorm(width)
        self.attention = SelfAttention(width, num_heads)
        self.value, self.proj = Dense(width, width), Dense(width, width)
        self.widen = Dense(width, int(width * mlp_ratio))
        self.narrow = Dense(int(width * mlp_ratio), width)

    def construct(self, x, memory):
        x = x + self.attention(self.norm_1(x))
        x = x + self.proj(self.value(memory)).expand_dims(1)
        return x + self.narrow(fast_gelu(self.widen(self.norm_2(x))))
