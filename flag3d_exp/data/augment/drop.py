"""Drop joints for a whole clip or for a range of frames, or set an axis to 0.

`DropStretch` and `DropAxis` are from SkateFormer (ECCV 2024).
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.augment.clip import Clip, happens
from flag3d_exp.data.poses import Poses
from flag3d_exp.data.transforms import without_joints


@dataclass(frozen=True)
class DropJoints:
    """Drop joints for the whole clip.

    Args:
        probability: of dropping each joint.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0

    stage = "clip"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.joints")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip without the dropped joints."""
        if not self.probability:
            return clip
        dropped = rng.random(clip.layout.num_joints) < self.probability
        return clip.of(without_joints(clip.poses, dropped))


@dataclass(frozen=True)
class DropStretch:
    """Drop joints for a range of frames.

    Args:
        probability: of changing a clip.
        joints: range of the share of joints to drop.
        frames: range of the share of frames in which to drop them.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0
    joints: tuple[float, float] = (0.2, 0.6)
    frames: tuple[float, float] = (0.25, 0.5)

    stage = "clip"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.stretch")
        for name in ("joints", "frames"):
            bounds.check_rising(f"augment.stretch.{name}", getattr(self, name), 0, 1)

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip without some joints in a range of frames."""
        if not happens(self.probability, rng):
            return clip
        poses = clip.poses
        num_frames, num_joints = poses.visible.shape[1:]
        count = max(1, round(rng.uniform(*self.joints) * num_joints))
        length = max(1, round(rng.uniform(*self.frames) * num_frames))
        begin = int(rng.integers(num_frames - length + 1))
        lost = rng.permutation(num_joints)[:count]
        visible = poses.visible.copy()
        visible[:, begin : begin + length, lost] = False
        return clip.of(Poses(poses.keypoints, visible, poses.scores))


@dataclass(frozen=True)
class DropAxis:
    """Set one coordinate of all joints to 0; 3D only.

    Args:
        probability: of changing a clip.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0

    stage = "clip"
    dimensions = 3

    def __post_init__(self) -> None:
        bounds.check(self, "augment.axis")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with one axis set to 0; all joints stay visible."""
        if not happens(self.probability, rng):
            return clip
        axis = int(rng.integers(clip.poses.keypoints.shape[-1]))
        keypoints = clip.poses.keypoints.copy()
        keypoints[..., axis] = 0
        return clip.of(clip.poses.moved_poses(keypoints))
