"""The loss of `problem=count`.

Sizes: N clips in a batch, T frames.
"""

from collections.abc import Mapping

import mindspore as ms
from mindspore import nn, ops


class CountError(nn.Cell):
    """Cross entropy of repeating, plus the error of the logarithm of a repetition's length.

    The first is the mean over all frames that are judged, the second over those that repeat.

    Args:
        length_weight: weight of the second.
    """

    counts = ("log_errors", "num_repeating", "num_right", "num_judged")

    def __init__(self, length_weight: float) -> None:
        super().__init__()
        self.length_weight = length_weight

    def construct(self, outputs, repeating, log_length, judged):
        """outputs (N, T, 2); repeating, log_length and judged (N, T), see `problems.count`.

        Returns:
            The loss; sums over frames for the metrics.
        """
        outputs = outputs.astype(ms.float32)
        logits, lengths = ops.unbind(outputs, 2)
        # log(1 + exp(-|x|)) + max(x, 0) - x y, which does not overflow
        entropy = ops.log(1 + ops.exp(-ops.abs(logits))) + ops.relu(logits) - logits * repeating
        num_judged = judged.sum()
        known = repeating * judged
        number = known.sum()
        errors = (ops.abs(lengths - log_length) * known).sum()
        loss = (entropy * judged).sum() / ops.maximum(num_judged, 1.0)
        loss = loss + self.length_weight * errors / ops.maximum(number, 1.0)
        right = (((logits > 0).astype(ms.float32) == repeating).astype(ms.float32) * judged).sum()
        return loss, (errors, number, right, num_judged)

    def metrics(self, counts: Mapping[str, float], num_clips: int) -> dict[str, float]:
        """Mean relative error of the length, and frames right in percent."""
        return {
            "length_error": counts["log_errors"] / max(counts["num_repeating"], 1.0),
            "frames": 100 * counts["num_right"] / max(counts["num_judged"], 1.0),
        }
