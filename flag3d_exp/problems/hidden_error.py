"""The loss of `problem=reconstruct`.

Sizes: N clips in a batch, M persons, T frames, V joints, D coordinates.
"""

from collections.abc import Mapping

import mindspore as ms
from mindspore import nn, ops


class HiddenError(nn.Cell):
    """Mean squared error of the hidden coordinates."""

    counts = ("distances", "num_counted")

    def construct(self, outputs, coordinates, counted):
        """outputs, coordinates (N, M, T, V, D); counted (N, M, T, V), 1 or 0.

        Returns:
            The loss; the sum of distances and the number of counted joints.
        """
        squares = ops.square(outputs.astype(ms.float32) - coordinates).sum(-1) * counted
        number = counted.sum()
        loss = squares.sum() / (ops.maximum(number, 1.0) * coordinates.shape[-1])
        return loss, (ops.sqrt(squares).sum(), number)

    def metrics(self, counts: Mapping[str, float], num_clips: int) -> dict[str, float]:
        """The mean distance, in the units of the clips."""
        return {"error_loss": counts["distances"] / max(counts["num_counted"], 1.0)}
