"""A turn about the vertical axis of people who were recorded in 2D, with a guessed depth.

A bone that looks shorter than it is at its longest points out of the image by as much as is lacking
(Taylor, Reconstruction of articulated objects from point correspondences, CVIU 2000). Towards or
away from the camera is not known: the sign is drawn.

Sizes: M persons, T frames, V joints.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.augment.bones import outwards
from flag3d_exp.data.augment.clip import Clip, happens
from flag3d_exp.data.poses import Poses
from flag3d_exp.skeletons.layout import Layout

# Half of the distance between left and right, as a share of the trunk's length.
HALF_WIDTHS = {"shoulder": 0.35, "hip": 0.18}
LONGEST = 0.95  # quantile of a bone's lengths that is taken for its true length


@dataclass(frozen=True)
class Turn:
    """The foreshortening that another view would cause, constant over a clip; 2D only.

    Args:
        probability: of changing a clip.
        angle: largest angle, radians.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0
    angle: Annotated[float, ">= 0"] = 0.8

    stage = "recording"
    dimensions = 2

    def __post_init__(self) -> None:
        bounds.check(self, "augment.turn")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip seen from another side."""
        if not happens(self.probability, rng):
            return clip
        angle = rng.uniform(-self.angle, self.angle)
        depth = guessed_depth(clip.poses, clip.layout, rng)
        return clip.of(turned(clip.poses, depth, angle))


def turned(poses: Poses, depth: np.ndarray, angle: float) -> Poses:
    """2D poses after a turn by `angle` about the vertical line through the middle of their joints.

    Args:
        depth: (M, T, V) in the units of the keypoints.
    """
    seen = max(int(poses.visible.sum()), 1)
    middle = poses.keypoints[..., 0].sum(dtype=np.float64) / seen  # missing ones are 0
    keypoints = poses.keypoints.copy()
    across = keypoints[..., 0] - np.float32(middle)
    keypoints[..., 0] = (
        np.float32(middle)
        + across * np.float32(np.cos(angle))
        + depth.astype(np.float32) * np.float32(np.sin(angle))
    )
    return poses.moved(keypoints)


def guessed_depth(poses: Poses, layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """(M, T, V) depth of each joint relative to the root.

    Shoulders and hips are as far apart as the trunk's length suggests, one side in front. Every
    other bone has a sign of its own, that of its mirror image.
    """
    keypoints = poses.keypoints.astype(np.float32)
    partner = layout.mirror_order
    signs = rng.choice([-1.0, 1.0], layout.num_joints)
    signs = np.where(partner < np.arange(layout.num_joints), signs[partner], signs)
    front = rng.choice([-1.0, 1.0])
    depth = np.zeros(poses.visible.shape, np.float32)
    trunk = trunk_length(poses, layout)
    widths = half_widths(layout)
    for joint in outwards(layout):
        parent = layout.parents[joint]
        if joint in widths:
            other = partner[joint]
            both = poses.visible[..., joint] & poses.visible[..., other]
            apart = np.linalg.norm(keypoints[..., joint, :] - keypoints[..., other, :], axis=-1) / 2
            half = widths[joint] * trunk
            side = front if joint < other else -front
            depth[..., joint] = side * np.sqrt(np.maximum(half**2 - apart**2, 0)) * both
        elif parent >= 0:
            step = bone_depth(poses, keypoints, joint, parent, partner, layout)
            depth[..., joint] = depth[..., parent] + np.float32(signs[joint]) * step
    return depth


def bone_depth(
    poses: Poses,
    keypoints: np.ndarray,
    joint: int,
    parent: int,
    partner: np.ndarray,
    layout: Layout,
) -> np.ndarray:
    """(M, T) how far the bone to a joint points out of the image; 0 where it is not seen."""
    found, both = [], []
    for end in {joint, int(partner[joint])}:
        start = layout.parents[end]
        both.append(poses.visible[..., end] & poses.visible[..., start])
        found.append(np.linalg.norm(keypoints[..., end, :] - keypoints[..., start, :], axis=-1))
    known = np.concatenate([f[b] for f, b in zip(found, both, strict=True)])
    if not known.size:
        return np.zeros(poses.visible.shape[:2], np.float32)
    longest = nearly_longest(known)
    there = poses.visible[..., joint] & poses.visible[..., parent]
    own = np.linalg.norm(keypoints[..., joint, :] - keypoints[..., parent, :], axis=-1)
    return np.sqrt(np.maximum(longest**2 - own**2, 0)) * there


def half_widths(layout: Layout) -> dict[int, float]:
    """The joints of shoulders and hips, and half their distance in lengths of the trunk."""
    found = {}
    for name, share in HALF_WIDTHS.items():
        pair = [layout.joint_number(f"{side} {name}") for side in ("left", "right")]
        if None not in pair:
            found |= {joint: share for joint in pair if joint is not None}
    return found


def trunk_length(poses: Poses, layout: Layout) -> float:
    """From the middle of the shoulders to that of the hips, at its longest; 0 if never seen."""
    names = ("left shoulder", "right shoulder", "left hip", "right hip")
    numbers = [layout.joint_number(name) for name in names]
    joints = [number for number in numbers if number is not None]
    if len(joints) < len(names):
        return 0.0
    seen = poses.visible[..., joints].all(-1)
    if not seen.any():
        return 0.0
    corners = poses.keypoints[seen][:, joints].astype(np.float32)  # (n, 4, 2)
    trunk = (corners[:, :2] - corners[:, 2:]).mean(1)
    return nearly_longest(np.linalg.norm(trunk, axis=-1))


def nearly_longest(lengths: np.ndarray) -> float:
    """The length that a share `LONGEST` of them do not exceed."""
    place = int(LONGEST * (len(lengths) - 1))
    return float(np.partition(lengths, place)[place])
