"""The loss of `problem=align`, which `problem.text_weight` adds to that of classification, too.

Sizes: H heads, N clips in a batch, K classes.
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
        everyone = ops.ones((1, *labels.shape), ms.float32)
        loss = contrast(logits.astype(ms.float32).expand_dims(0), chosen, everyone)
        return loss, (num_correct,)

    def metrics(self, counts: Mapping[str, float], num_clips: int) -> dict[str, float]:
        """Top-1 in percent, among all classes."""
        return {"top1": 100 * counts["num_correct"] / num_clips}


def one_hot(labels, num_classes):
    """labels (N,) -> (N, K) float32."""
    return ops.one_hot(labels, num_classes, Tensor(1.0, ms.float32), Tensor(0.0, ms.float32))


def contrast(logits, chosen, takes_part):
    """The mean over heads of the loss of `TextContrast`, over the clips that take part.

    Args:
        logits: (H, N, K).
        chosen: (N, K) 1 for the class of each clip.
        takes_part: (H, N) 1 or 0, the same for clips of one class.
    """
    h, n, k = logits.shape
    pairs = ops.matmul(logits.reshape(h * n, k), chosen.T).reshape(h, n, n)  # clip, text
    equal = ops.matmul(chosen, chosen.T)
    takes_part = takes_part.expand_dims(1)  # (H, 1, N)
    shown = equal * takes_part
    target = shown / ops.maximum(shown.sum(2, keepdims=True), 1.0)  # rows of zeros for the others
    hidden = (1.0 - takes_part) * HIDDEN
    share = n / ops.maximum(takes_part.sum((1, 2)), 1.0)  # of a mean over those
    loss = divergence(target, pairs + hidden)
    loss = loss + divergence(target, pairs.transpose(0, 2, 1) + hidden)
    return (loss * share).mean() * 0.5


def divergence(target, logits):
    """(H,) means over rows of KL(target || softmax of the logits); both (H, N, N)."""
    entropies = (target * ops.log(ops.maximum(target, 1e-12))).sum(2)  # 0 for a target of 0
    return (entropies - (target * ops.log_softmax(logits, 2)).sum(2)).mean(1)
