"""The loss of `problem=align`, which `problem.text_weight` adds to that of classification, too.

Sizes: N clips in a batch, K classes.
"""

from collections.abc import Mapping

import mindspore as ms
from mindspore import Tensor, nn, ops

HIDDEN = -1e4  # added to the logits of texts that take no part


class TextContrast(nn.Cell):
    """Contrastive loss that pulls each clip towards the text of its class, and each text to its
    clips.

    The logits (N, N) of each clip with the text of each clip in the batch are softmaxed along each
    axis. They are compared with the matrix of equal labels, normalised along the same axis, by the
    mean of the two Kullback-Leibler divergences (Zhou et al., PGFA, TIP 2025). Texts of classes
    that are not in the batch are not used, so nothing is learned about unseen classes.
    """

    counts = ("num_correct",)

    def construct(self, logits, labels):
        """logits (N, K), labels (N,) -> the loss, (number of correct predictions,)."""
        num_correct = (logits.argmax(1) == labels).astype(ms.int32).sum()
        chosen = one_hot(labels, logits.shape[1])
        loss = contrast(logits.astype(ms.float32), chosen, ops.ones(labels.shape, ms.float32))
        return loss, (num_correct,)

    def metrics(self, counts: Mapping[str, float], num_clips: int) -> dict[str, float]:
        """Top-1 in percent, among all classes."""
        return {"top1": 100 * counts["num_correct"] / num_clips}


def one_hot(labels, num_classes):
    """labels (N,) -> (N, K) float32."""
    return ops.one_hot(labels, num_classes, Tensor(1.0, ms.float32), Tensor(0.0, ms.float32))


def contrast(logits, chosen, takes_part):
    """The loss of `TextContrast` over the clips that take part.

    Args:
        logits: (N, K).
        chosen: (N, K) 1 for the class of each clip.
        takes_part: (N,) 1 or 0, the same for clips of one class.
    """
    pairs = ops.matmul(logits, chosen.T)  # (N, N): clip, text
    equal = ops.matmul(chosen, chosen.T)
    shown = equal * takes_part
    target = shown / ops.maximum(shown.sum(1, keepdims=True), 1.0)  # a row of zeros for the others
    hidden = (1.0 - takes_part) * HIDDEN
    share = takes_part.shape[0] / ops.maximum(takes_part.sum(), 1.0)  # of a mean over those
    loss = divergence(target, pairs + hidden) + divergence(target, pairs.T + hidden)
    return loss * 0.5 * share


def divergence(target, logits):
    """The mean over rows of KL(target || softmax of the logits); both (N, N)."""
    entropies = (target * ops.log(ops.maximum(target, 1e-12))).sum(1)  # 0 for a target of 0
    return (entropies - (target * ops.log_softmax(logits, 1)).sum(1)).mean()
