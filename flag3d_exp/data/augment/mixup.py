"""Mixup: mix two clips and their labels (Zhang et al., ICLR 2018)."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds


@dataclass(frozen=True)
class Mixup:
    """Replace a clip by its weighted mean with another; the loss uses the same weights.

    Args:
        probability: of mixing a clip.
        alpha: the weight is drawn from Beta(alpha, alpha); with a small alpha, most weights are
            near 0 or 1.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0
    alpha: Annotated[float, "> 0"] = 0.2

    stage = "pair"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.mixup")

    def drawn_partner(self, num_recordings: int, rng: np.random.Generator) -> tuple[int, float]:
        """The other recording's index and the weight of the first clip; 1 if it is not mixed."""
        if rng.random() >= self.probability:
            return 0, 1.0
        weight = float(rng.beta(self.alpha, self.alpha))
        return int(rng.integers(num_recordings)), max(weight, 1 - weight)


def mixed_clips(clips: np.ndarray, others: np.ndarray, weight: float) -> np.ndarray:
    """`weight * clips + (1 - weight) * others`, each (..., V, C).

    A joint that is missing in `clips` stays missing. A joint that is missing only in `others` keeps
    its value in `clips`.
    """
    here, there = clips.any(-1, keepdims=True), others.any(-1, keepdims=True)
    mean = np.float32(weight) * clips + np.float32(1 - weight) * others
    return np.where(here & there, mean, clips)
