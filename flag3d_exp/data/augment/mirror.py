"""Mirroring."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data import boxes, transforms
from flag3d_exp.data.augment.clip import Clip, happens


@dataclass(frozen=True)
class Mirror:
    """Negate x, or flip it in the image, and exchange left and right joints.

    Args:
        probability: of mirroring a clip; use 0 if class names contain a side (left, right).
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0

    stage = "clip"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.mirror")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip or its mirror image."""
        if not happens(self.probability, rng):
            return clip
        order = clip.layout.mirror_order
        if clip.image_shape is None:
            return clip.of(transforms.mirrored_poses(clip.poses, order))
        return clip.of(boxes.flipped_poses(clip.poses, clip.image_shape[1], order))
