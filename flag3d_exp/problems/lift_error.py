"""The loss of `problem=lift`.

Sizes: N clips in a batch, M persons, T frames, V joints.
"""

from collections.abc import Mapping

import mindspore as ms
from mindspore import nn, ops

EPSILON = 1e-10  # square metres; the square root has no gradient at 0


class LiftError(nn.Cell):
    """The mean distance over the joints of the mask, in metres."""

    counts = ("distances", "num_counted")

    def construct(self, outputs, places, counted):
        """outputs, places (N, M, T, V, 3); counted (N, M, T, V), 1 or 0.

        Returns:
            The loss; the sum of distances and the number of joints in the mask.
        """
        squares = ops.square(outputs.astype(ms.float32) - places).sum(-1)
        total = (ops.sqrt(squares + EPSILON) * counted).sum()
        number = counted.sum()
        return total / ops.maximum(number, 1.0), (total, number)

    def metrics(self, counts: Mapping[str, float], num_clips: int) -> dict[str, float]:
        """The mean distance in millimetres, in training."""
        return {"mpjpe": 1000 * counts["distances"] / max(counts["num_counted"], 1.0)}
