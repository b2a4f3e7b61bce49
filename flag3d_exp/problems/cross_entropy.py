"""The loss of `problem=classify`.

Sizes: N clips in a batch, K classes.
"""

from collections.abc import Mapping

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops


class CrossEntropy(nn.Cell):
    """Mean cross entropy of logits (N, K) and labels (N,), and the number of correct predictions.

    A mixed clip has two labels. Its loss is weighted by their shares; a prediction of the first
    label counts as correct.

    Args:
        label_smoothing: share of each target spread evenly over all classes.
        class_weights: (K,) weight of each class in the mean; None for equal ones.
    """

    counts = ("num_correct",)

    def __init__(
        self, label_smoothing: float = 0.0, class_weights: tuple[float, ...] | None = None
    ):
        super().__init__()
        self.label_smoothing = label_smoothing
        weights = None if class_weights is None else np.asarray(class_weights, np.float32)
        self.class_weights = None if weights is None else Tensor(weights)

    def construct(self, logits, labels, other_labels=None, shares=None):
        """logits (N, K), labels (N,), for mixed clips also the second labels and the shares (N,) of
        the first -> the loss, (number of correct predictions,)."""
        num_correct = (logits.argmax(1) == labels).astype(ms.int32).sum()
        num_classes = logits.shape[1]
        log_probabilities = ops.log_softmax(logits.astype(ms.float32), 1)  # (N, K)
        on, off = 1.0 - self.label_smoothing, self.label_smoothing / num_classes
        chosen = self.one_hot(labels, num_classes)
        if shares is not None:
            first = shares.reshape(-1, 1)  # (N, 1)
            chosen = chosen * first + self.one_hot(other_labels, num_classes) * (1.0 - first)
        losses = -((chosen * on + off) * log_probabilities).sum(1)  # (N,)
        if self.class_weights is None:
            return losses.mean(), (num_correct,)
        weights = (chosen * self.class_weights).sum(1)  # (N,)
        return (losses * weights).sum() / weights.sum(), (num_correct,)

    def one_hot(self, labels, num_classes):
        """labels (N,) -> (N, K)."""
        return ops.one_hot(labels, num_classes, Tensor(1.0, ms.float32), Tensor(0.0, ms.float32))

    def metrics(self, counts: Mapping[str, float], num_clips: int) -> dict[str, float]:
        """Top-1 in percent."""
        return {"top1": 100 * counts["num_correct"] / num_clips}
