"""Displace each joint by a constant: each sensor and estimator has its own places of the joints."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.augment.clip import Clip, box_size, happens


@dataclass(frozen=True)
class JointOffset:
    """Add a random displacement to each joint, the same one in all frames.

    Wang et al. (IEEE ICHI 2015) measured such offsets between the joints of a Kinect and of an
    optical motion capture system.

    Args:
        probability: of changing a clip.
        deviation: standard deviation of the displacement along each axis, relative to the longer
            side of the person's bounding box; of each clip uniform between 0 and twice this.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0
    deviation: Annotated[float, ">= 0, <= 1"] = 0.02

    stage = "recording"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.offset")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with displaced joints; visibility and scores stay."""
        if not happens(self.probability, rng):
            return clip
        num_persons, _, num_joints, num_coordinates = clip.poses.keypoints.shape
        deviation = rng.uniform(0, 2 * self.deviation) * box_size(clip.poses)
        drawn = rng.standard_normal((num_persons, 1, num_joints, num_coordinates), np.float32)
        return clip.of(clip.poses.moved_poses(clip.poses.keypoints + drawn * np.float32(deviation)))
