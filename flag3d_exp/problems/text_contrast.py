"""The loss of `problem=align`.

Sizes: N clips in a batch, K classes.
"""

from collections.abc import Mapping

import mindspore as ms
from mindspore import Tensor, nn, ops


class TextContrast(nn.Cell):
    """Each clip is to be nearest to the text of its class in the batch, and each text to its clips.

    The batch's logits (N, N), of each clip with the text of each, are softmaxed along either axis
    and compared with the matrix of equal labels, normalised along that axis: the mean of the two
    Kullback-Leibler divergences (Zhou et al., PGFA, TIP 2025). Texts of classes that the batch
    lacks take no part, so that nothing is learned about unseen classes.
    """

    counts = ("num_correct",)

    def construct(self, logits, labels):
        """logits (N, K), labels (N,) -> the loss, (number of right answers,)."""
        num_correct = (logits.argmax(1) == labels).astype(ms.int32).sum()
        on, off = Tensor(1.0, ms.float32), Tensor(0.0, ms.float32)
        chosen = ops.one_hot(labels, logits.shape[1], on, off)  # (N, K)
        pairs = ops.matmul(logits.astype(ms.float32), chosen.T)  # (N, N): clip, text
        equal = ops.matmul(chosen, chosen.T)
        target = equal / equal.sum(1, keepdims=True)  # symmetric in its zeros, one row a clip
        loss = (divergence(target, pairs) + divergence(target, pairs.T)) * 0.5
        return loss, (num_correct,)

    def metrics(self, counts: Mapping[str, float], num_clips: int) -> dict[str, float]:
        """Top-1 in percent, among all classes."""
        return {"top1": 100 * counts["num_correct"] / num_clips}


def divergence(target, logits):
    """The mean over rows of KL(target || softmax of the logits); both (N, N)."""
    entropies = (target * ops.log(ops.maximum(target, 1e-12))).sum(1)  # of 0, it is 0
    return (entropies - (target * ops.log_softmax(logits, 1)).sum(1)).mean()
