"""MDM: Human Motion Diffusion Model (ICLR 2023, arXiv 2209.14916), on keypoints.

A transformer encoder predicts the clean clip from a noisy one. The first token holds the condition
and the diffusion step; the other tokens are frames. The noise follows a cosine schedule (Nichol and
Dhariwal, ICML 2021). The published network has 8 layers of width 512 and 1000 or 50 steps; norms
come first here, see `models.transformer`. With a `Prior`, the encoder gets and corrects its
estimate of the clean clip.

Sizes: N clips, T frames, D features of a frame, C channels, S diffusion steps, R noisy versions of
a clip.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
from mindspore import Tensor, nn, ops

from flag3d_exp.models.dense import Dense
from flag3d_exp.models.prior import Prior
from flag3d_exp.models.transformer import Encoder, kept_branches, positions
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.skeletons.motion import num_features

TEST_STEPS = 5  # diffusion steps at which a test clip is evaluated
MAX_BETA = 0.999  # of the noise that a step adds
Denoise = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (N, T, D), steps (N,) -> clean clips


class MDM(nn.Cell):
    """Noisy clips (N, T, D), conditions (N, C), steps (N,) -> clean clips (N, T, D).

    `Generator` trains it, on standardised features.

    Args:
        layout: name or YAML file of the joints' layout.
        clip_len: T.
        width: C.
        num_layers: layers of the encoder.
        num_heads: attention heads, a divisor of `width`.
        mlp_ratio: width of a layer's dense layers, relative to `width`.
        num_steps: diffusion steps S.
        layer_dropout: share of the numbers that training drops in each branch of a layer.
        prior: correct the estimate of a Gaussian model of the training clips; False: predict the
            clean clip from the noisy one, as published.
        temperature: factor on the noise that sampling adds in each step; below 1, clips are nearer
            to what is typical, as a prior needs.

    Attributes:
        features: C, the size of a condition.
        num_inputs: D.
        prior: the model of the training clips, or None.
        temperature: see above; may be set.
    """

    generates = True
    dropout = 0.0  # it has no pooling head
    completes = True  # see `sample`

    def __init__(
        self,
        layout: str,
        clip_len: Annotated[int, ">= 2"] = 48,
        width: Annotated[int, ">= 2"] = 512,
        num_layers: Annotated[int, ">= 1"] = 8,
        num_heads: Annotated[int, ">= 1"] = 4,
        mlp_ratio: Annotated[float, "> 0"] = 2.0,
        num_steps: Annotated[int, ">= 2, <= 1000"] = 50,
        layer_dropout: Annotated[float, ">= 0, < 1"] = 0.1,
        prior: bool = True,
        temperature: Annotated[float, ">= 0, <= 10"] = 0.75,
    ):
        super().__init__()
        self.features, self.num_steps, self.temperature = width, num_steps, temperature
        self.num_inputs = num_features(load_layout(layout))
        self.num_layers, self.layer_dropout = num_layers, layer_dropout
        self.signal = signal_shares(num_steps)
        self.entry = Dense(self.num_inputs, width)
        self.step_1, self.step_2 = Dense(width, width), Dense(width, width)
        self.encoder = Encoder(width, num_layers, num_heads, mlp_ratio)
        self.exit = Dense(width, self.num_inputs)
        self.prior = Prior(clip_len, self.num_inputs) if prior else None
        self.shares = Tensor(self.signal.astype(np.float32))
        self.step_codes = Tensor(positions(num_steps, width))
        self.frame_codes = Tensor(positions(clip_len + 1, width))
        edges = np.linspace(0, num_steps - 1, TEST_STEPS + 1)
        steps = np.rint((edges[:-1] + edges[1:]) / 2).astype(np.int32)
        share = self.signal[steps].reshape(-1, 1, 1)
        noise = np.random.default_rng(0).standard_normal((TEST_STEPS, clip_len, self.num_inputs))
        self.test_steps = Tensor(steps)
        self.test_signal = Tensor(np.sqrt(share).astype(np.float32))
        self.test_noise = Tensor((noise * np.sqrt(1 - share)).astype(np.float32))

    def construct(self, noisy, condition, steps):
        return self.denoise(noisy, condition, steps)

    def denoise(self, noisy, condition, steps, *kept):
        """As `construct`; kept: factors of the encoder's branches, see `chance`."""
        t = noisy.shape[1]
        share = ops.gather(self.shares, steps, 0).reshape(-1, 1, 1)
        estimate = noisy if self.prior is None else self.prior(noisy, share)
        code = ops.gather(self.step_codes, steps, 0)
        code = self.step_1(code)
        code = self.step_2(code * ops.sigmoid(code))
        first = (code + condition).expand_dims(1)  # (N, 1, C)
        x = ops.concat([first, self.entry(estimate)], 1)  # (N, 1 + T, C)
        x = self.encoder(x + self.frame_codes, *kept)
        out = self.exit(ops.narrow(x, 1, 1, t))
        return out if self.prior is None else estimate + self.prior.correction(out, share)

    def training_outputs(self, clean, condition, *drawn):
        """Predictions and true clips (N * R, T, D), and (N * R,) zeros: no loss of its own.

        Args:
            clean: (N, T, D), standardised.
            condition: (N, C).
            drawn: the arrays from `chance`; none in an evaluation, which takes the same noise for
                every clip, at R evenly spaced steps.
        """
        n, t, d = clean.shape
        if len(drawn) > 0:
            noisy = clean * ops.sqrt(drawn[0]) + drawn[1] * ops.sqrt(1 - drawn[0])
            predicted = self.denoise(noisy, condition, drawn[2], *drawn[3:])
            return predicted, clean, ops.zeros((n,), clean.dtype)
        r = self.test_steps.shape[0]
        clean = ops.tile(clean.expand_dims(1), (1, r, 1, 1)).reshape(n * r, t, d)
        condition = ops.tile(condition.expand_dims(1), (1, r, 1)).reshape(n * r, -1)
        noisy = clean * ops.tile(self.test_signal, (n, 1, 1)) + ops.tile(self.test_noise, (n, 1, 1))
        predicted = self.denoise(noisy, condition, ops.tile(self.test_steps, (n,)))
        return predicted, clean, ops.zeros((n * r,), clean.dtype)

    def chance(self, shape: Sequence[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The arrays for `training_outputs` in training: a random step and noise for each clip.

        Args:
            shape: (N, T, D).
        """
        n, t, _ = shape
        steps = rng.integers(self.num_steps, size=n)
        kept = (n, t + 1, self.features)
        return {
            "signal": self.signal[steps].astype(np.float32).reshape(n, 1, 1),
            "noise": rng.standard_normal(tuple(shape), np.float32),
            "steps": steps.astype(np.int32),
            **kept_branches(kept, self.num_layers, self.layer_dropout, rng),
        }

    def sample(
        self,
        denoise: Denoise,
        shape: Sequence[int],
        rngs: Sequence[np.random.Generator],
        known: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """(N, T, D) standardised clips, by ancestral sampling (Ho et al., NeurIPS 2020).

        Args:
            denoise: clean clips from noisy ones.
            shape: (N, T, D).
            rngs: the generator of each clip.
            known: features (N, T, D) to keep, and a mask of them (N, T, D). In each step, the
                prediction is overwritten with them, as in MDM.
        """
        before = np.concatenate([[1.0], self.signal[:-1]])
        noisy = noise_of(shape[1:], rngs)
        for step in reversed(range(self.num_steps)):
            clean = denoise(noisy, np.full(shape[0], step, np.int32)).astype(np.float64)
            if known is not None:
                clean = np.where(known[1], known[0], clean)
            share, earlier = self.signal[step], before[step]
            kept = share / earlier  # of the variance in this step
            mean = np.sqrt(earlier) * (1 - kept) / (1 - share) * clean
            mean += np.sqrt(kept) * (1 - earlier) / (1 - share) * noisy
            noisy = mean.astype(np.float32)
            if step:
                spread = self.temperature * np.sqrt((1 - kept) * (1 - earlier) / (1 - share))
                noisy += np.float32(spread) * noise_of(shape[1:], rngs)
        return noisy


def signal_shares(num_steps: int) -> np.ndarray:
    """(S,) the clean clip's share of the variance after each step, by the cosine schedule."""
    times = np.arange(num_steps + 1) / num_steps
    whole = np.cos((times + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = np.minimum(1 - whole[1:] / whole[:-1], MAX_BETA)
    return np.cumprod(1 - betas)


def noise_of(shape: Sequence[int], rngs: Sequence[np.random.Generator]) -> np.ndarray:
    """(N, ...) float32 noise, each clip from its own generator."""
    return np.stack([rng.standard_normal(shape, np.float32) for rng in rngs])
