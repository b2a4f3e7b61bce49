"""TENT: train the norms' scales and shifts for certain predictions (Wang et al., ICLR 2021).

Sizes: N clips in a batch, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import mindspore as ms
from mindspore import nn, ops

from flag3d_exp import bounds
from flag3d_exp.engine.adapt.statistics import (
    Load,
    Share,
    TargetStatistics,
    compiled_function,
    norm_cells,
    norms_training,
    tensors,
)
from flag3d_exp.engine.optimizer import adamw


@dataclass(frozen=True)
class Tent:
    """Minimise the entropy of the predictions by Adam, with the statistics of the batch.

    At the end the norms get the target's statistics as in `BatchStatistics`.

    Args:
        lr: of Adam.
        alpha: as in `BatchStatistics`.
    """

    lr: Annotated[float, "> 0"] = 1e-3
    alpha: tuple[Share, Share] = (1.0, 1.0)

    def __post_init__(self) -> None:
        bounds.check(self, "task.method")

    def __call__(self, network: nn.Cell, load: Load, jit: bool) -> Iterator[dict[str, float]]:
        """Adapt; see the package."""
        statistics = TargetStatistics(network)
        learned = [p for norm in norm_cells(network) for p in (norm.weight, norm.bias)]
        optimizer: Any = adamw([{"params": learned}], lr=self.lr, weight_decay=0.0)

        def loss(*inputs):
            return entropy(network(*inputs))

        of_inputs: Any = None
        gradients: Any = ms.value_and_grad(loss, of_inputs, optimizer.parameters)

        def update(*inputs):
            value, found = gradients(*inputs)
            return ops.depend(value, optimizer(found))

        step = compiled_function(update, jit)
        for batch in load(0):
            with norms_training(network), statistics.of_batch():
                value = float(step(*tensors(batch)).asnumpy())
            statistics.apply(self.alpha)
            yield {"entropy": value}


def entropy(logits):
    """Mean entropy of logits (N, K), in nats."""
    log_scores = ops.log_softmax(logits.astype(ms.float32), 1)
    return -(ops.exp(log_scores) * log_scores).sum(1).mean()
