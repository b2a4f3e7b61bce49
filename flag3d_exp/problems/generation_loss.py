"""The loss of `problem=generate`.

Sizes: N clips in a batch.
"""

from collections.abc import Mapping, Sequence

from mindspore import nn

TERMS = ("position_loss", "motion_loss", "bone_loss", "own_loss")


class GenerationLoss(nn.Cell):
    """The weighted sum of the losses that the network returns.

    Args:
        weights: of `TERMS`.
    """

    counts = TERMS

    def __init__(self, weights: Sequence[float]):
        super().__init__()
        self.weights = tuple(weights)

    def construct(self, losses):
        """losses (N, 4).

        Returns:
            The mean loss; the sum of each term.
        """
        sums = losses.sum(0)
        total = sums[0] * self.weights[0]
        for number in range(1, len(self.weights)):
            total = total + sums[number] * self.weights[number]
        return total / losses.shape[0], tuple([sums[k] for k in range(len(self.weights))])

    def metrics(self, counts: Mapping[str, float], num_clips: int) -> dict[str, float]:
        """The mean of each term."""
        return {name: counts[name] / num_clips for name in TERMS}
