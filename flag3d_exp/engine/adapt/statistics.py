"""Batch-norm statistics of the target instead of training (Schneider et al., NeurIPS 2020).

Sizes: N clips in a batch, C channels of a norm, L norms of a network.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from flag3d_exp import bounds
from flag3d_exp.errors import UserError

# (number of the pass over the target) -> the network's inputs in batches of the same size.
Load = Callable[[int], Iterable[Mapping[str, np.ndarray]]]
Share = Annotated[float, ">= 0, <= 1"]


@dataclass(frozen=True)
class BatchStatistics:
    """After one pass over the target, each norm has a mix of target and training statistics.

    Args:
        alpha: the target's share in the first and in the last norm, linear in between. The first
            layers differ most between domains.
    """

    alpha: tuple[Share, Share] = (1.0, 1.0)

    def __post_init__(self) -> None:
        bounds.check(self, "task.method")

    def __call__(self, network: nn.Cell, load: Load, jit: bool) -> Iterator[dict[str, float]]:
        """Adapt; see the package."""
        statistics = TargetStatistics(network)
        forward = compiled_pass(network, jit)
        for batch in load(0):
            with norms_training(network), statistics.of_batch():
                forward(*tensors(batch)).asnumpy()  # waits, so that the statistics are complete
            statistics.apply(self.alpha)
            yield {"num_batches": float(statistics.count)}


class TargetStatistics:
    """Means and variances of each norm's inputs from the target, over all batches so far.

    Raises:
        UserError: the network has no batch norm.
    """

    def __init__(self, network: nn.Cell):
        self.norms = norm_cells(network)
        if not self.norms:
            raise UserError("`task=adapt` changes batch norms, but this network has none.")
        self.source = [(_value(n.running_mean), _value(n.running_var)) for n in self.norms]
        self.means = [np.zeros_like(mean, np.float64) for mean, _ in self.source]
        self.squares = [np.zeros_like(mean, np.float64) for mean, _ in self.source]
        self.count = 0

    @contextmanager
    def of_batch(self) -> Iterator[None]:
        """Collect the statistics of one batch that the block passes through the network.

        A norm in training mode moves its running statistics by a share towards those of the batch.
        They start at 0, so they become the batch statistics times this share.
        """
        for norm in self.norms:
            _assign(norm.running_mean, np.zeros(norm.running_mean.shape, np.float32))
            _assign(norm.running_var, np.zeros(norm.running_var.shape, np.float32))
        yield
        self.count += 1
        for number, norm in enumerate(self.norms):
            mean = _value(norm.running_mean).astype(np.float64) / norm.momentum
            variance = _value(norm.running_var).astype(np.float64) / norm.momentum
            self.means[number] += mean
            self.squares[number] += variance + mean**2

    def target(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Mean and variance (C,) of each norm over all batches."""
        found = []
        for total, squares in zip(self.means, self.squares, strict=True):
            mean = total / self.count
            found.append((mean, np.maximum(squares / self.count - mean**2, 0)))
        return found

    def apply(self, alpha: tuple[float, float]) -> None:
        """Set each norm to the mix of target and training statistics."""
        shares = np.linspace(alpha[0], alpha[1], len(self.norms))
        pairs = zip(self.norms, self.source, self.target(), shares, strict=True)
        for norm, (mean, variance), (new_mean, new_variance), share in pairs:
            _assign(norm.running_mean, (1 - share) * mean + share * new_mean)
            _assign(norm.running_var, (1 - share) * variance + share * new_variance)


def norm_cells(network: nn.Cell) -> list[Any]:
    """The batch norms of a network, from its input to its output."""
    return [cell for _, cell in network.cells_and_names() if hasattr(cell, "running_mean")]


@contextmanager
def norms_training(network: nn.Cell) -> Iterator[None]:
    """During the block, set the norms to training mode and the rest to evaluation mode.

    A heatmap network that is entirely in training mode would expect clips of another size.
    """
    network.set_train(False)
    norms = norm_cells(network)
    for norm in norms:
        norm.set_train(True)
    try:
        yield
    finally:
        for norm in norms:
            norm.set_train(False)


def tensors(batch: Mapping[str, np.ndarray]) -> list[Tensor]:
    """The arrays of a batch, in order."""
    return [Tensor(array) for array in batch.values()]


def compiled_function(function: Any, jit: bool) -> Any:
    """The function, compiled if `jit` is true. MindSpore compiles no lambda."""
    return ms.jit(function) if jit else function


def compiled_pass(network: nn.Cell, jit: bool) -> Any:
    """The network's forward pass, compiled if `jit` is true."""

    def forward(*inputs):
        return network(*inputs)

    return compiled_function(forward, jit)


def _value(parameter: Any) -> np.ndarray:
    return parameter.asnumpy().copy()


def _assign(parameter: Any, value: np.ndarray) -> None:
    ops.assign(parameter, Tensor(value.astype(np.float32), parameter.dtype))
