"""Two clips in one, with the labels of both (mixup, Zhang et al., ICLR 2018)."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds


@dataclass(frozen=True)
class Mixup:
    """A weighted mean of the clip and of another; the loss is weighted the same way.

    Args:
        probability: of mixing a clip.
        alpha: the weight is drawn from Beta(alpha, alpha); a small one leaves most clips nearly
            pure.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0
    alpha: Annotated[float, "> 0"] = 0.2

    stage = "pair"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.mixup")

    def drawn(self, num_recordings: int, rng: np.random.Generator) -> tuple[int, float]:
        """The index of the other recording, and the weight of the first clip; 1 if it stays."""
        if rng.random() >= self.probability:
            return 0, 1.0
        weight = float(rng.beta(self.alpha, self.alpha))
        return int(rng.integers(num_recordings)), max(weight, 1 - weight)


def mixed(clips: np.ndarray, others: np.ndarray, weight: float) -> np.ndarray:
    """`weight * clips + (1 - weight) * others`, each (..., V, C).

    A joint that is missing from `clips` stays missing; one that only `others` lack is as in
    `clips`.
    """
    here, there = clips.any(-1, keepdims=True), others.any(-1, keepdims=True)
    mean = np.float32(weight) * clips + np.float32(1 - weight) * others
    return np.where(here & there, mean, clips)
