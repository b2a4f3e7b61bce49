"""Rotate persons recorded in 2D about the vertical axis, with an estimated depth.

A bone that is shorter in a frame than its largest length points out of the image plane; its depth
follows from the difference (Taylor, Reconstruction of articulated objects from point
correspondences, CVIU 2000). Whether it points towards or away from the camera is unknown, so the
sign is random.

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
LONGEST = 0.95  # quantile of a bone's lengths that is used as its true length


@dataclass(frozen=True)
class Turn:
    """Foreshorten as another view would, by one angle for the whole clip; 2D only.

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
        """The clip as seen from another direction."""
        if not happens(self.probability, rng):
            return clip
        angle = rng.uniform(-self.angle, self.angle)
        depth = guessed_depth(clip.poses, clip.layout, rng)
        return clip.of(turned_poses(clip.poses, depth, angle))


def turned_poses(poses: Poses, depth: np.ndarray, angle: float) -> Poses:
    """2D poses rotated by `angle` about the vertical line through the mean of their joints.

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
    return poses.moved_poses(keypoints)


def guessed_depth(poses: Poses, layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """(M, T, V) depth of each joint relative to the root.

    Shoulders and hips get the width that the trunk's length suggests, with a random side in front.
    Every other bone gets a random sign, the same as its mirrored bone.
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
    """(M, T) depth of the bone to a joint, out of the image plane; 0 where it is not visible."""
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
    """The joints of shoulders and hips, and half their distance relative to the trunk's length."""
    found = {}
    for name, share in HALF_WIDTHS.items():
        pair = [layout.joint_number(f"{side} {name}") for side in ("left", "right")]
        if None not in pair:
            found |= {joint: share for joint in pair if joint is not None}
    return found


def trunk_length(poses: Poses, layout: Layout) -> float:
    """Longest distance between the middles of shoulders and hips; 0 if they are never visible."""
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
    """The quantile `LONGEST` of some lengths."""
    place = int(LONGEST * (len(lengths) - 1))
    return float(np.partition(lengths, place)[place])
