"""Clips from a trained network of `problem=generate`.

Sizes: n clips, N clips of a batch, T frames of a clip, L of a recording, V joints, D features, W
numbers of a condition.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mindspore as ms
import numpy as np
from mindspore import Tensor
from scipy.interpolate import CubicSpline

from flag3d_exp.models.generator import QUANTILES

if TYPE_CHECKING:
    from mindspore import nn

Known = tuple[np.ndarray, np.ndarray]  # features (n, T, D) to keep, and a mask (n, T, D)


@dataclass(frozen=True)
class Sampler:
    """(conditions (n, W), generators) -> features (n, T, D).

    A clip depends on its condition, its generator and the network, not on the other clips.

    Args:
        network: a `models.generator.Generator`.
        jit: compile the network.
        batch_size: clips per pass; more are taken in several passes.
        guidance: factor on the effect of the condition; 1 for none.
    """

    network: "nn.Cell"
    jit: bool
    batch_size: int
    guidance: float = 1.0

    def __call__(
        self,
        conditions: np.ndarray,
        rngs: Sequence[np.random.Generator],
        num_frames: int,
        known: Known | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> np.ndarray:
        """The features.

        Args:
            rngs: one for each clip.
            num_frames: T.
            known: features to keep, see `MDM.sample`.
            progress: is called with the number of finished clips.
        """
        head: Any = self.network.head
        mean, std = head.mean.asnumpy(), head.std.asnumpy()
        forward = self._compiled_network()
        made = []
        for part in batches(len(conditions), self.batch_size):
            there = np.resize(np.arange(len(conditions))[part], self.batch_size)
            # Every batch has the same size, so that one shape is compiled.
            own = conditions[there]
            drawn = [rngs[k] for k in part_of(part)]
            drawn += [np.random.default_rng(0) for _ in range(self.batch_size - len(drawn))]
            held = None
            if known is not None:
                held = (known[0][there] - mean) / std, known[1][there]
            shape = (self.batch_size, num_frames, len(mean))
            clean = self._guided_clips(forward, own)
            found = self.network.backbone.sample(clean, shape, drawn, held)
            made.append(found[: len(part_of(part))] * std + mean)
            progress(part.stop)
        return np.concatenate(made).astype(np.float32)

    def _compiled_network(self) -> Callable[..., np.ndarray]:
        """The network's clean clips for its inputs, as arrays."""
        network: Any = self.network.set_train(False)

        def clean(*inputs):
            return network.clean(*inputs)

        forward: Any = ms.jit(clean) if self.jit else clean
        return lambda *arrays: forward(*[Tensor(array) for array in arrays]).asnumpy()

    def _guided_clips(
        self, forward: Callable[..., np.ndarray], conditions: np.ndarray
    ) -> Callable[..., np.ndarray]:
        """Clean clips (N, T, D) for the other inputs, with guidance (arXiv 2207.12598)."""
        if self.guidance == 1:
            return lambda motion, *others: forward(motion, conditions, *others)
        both = np.concatenate([conditions, np.zeros_like(conditions)])

        def clean(*arrays: np.ndarray) -> np.ndarray:
            motion, *others = [np.concatenate([one, one]) for one in arrays]
            with_it, without = np.split(forward(motion, both, *others), 2)
            return without + np.float32(self.guidance) * (with_it - without)

        return clean


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` of the numbers below `count`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def part_of(part: slice) -> range:
    """The numbers of a slice."""
    return range(part.start, part.stop)


def drawn_value(quantiles: np.ndarray, rng: np.random.Generator) -> float:
    """A random number whose distribution has these quantiles, see `QUANTILES`."""
    return float(np.interp(rng.random(), QUANTILES, quantiles))


def drawn_length(quantiles: np.ndarray, rng: np.random.Generator) -> int:
    """A random number of frames, as `drawn_value`."""
    return max(2, round(drawn_value(quantiles, rng)))


def resampled_joints(joints: np.ndarray, length: int) -> np.ndarray:
    """(L, V, 3) joints of a clip (T, V, 3) at `length` evenly spaced times, by cubic splines."""
    times = np.linspace(0, len(joints) - 1, length)
    return CubicSpline(np.arange(len(joints)), joints)(times).astype(np.float32)
