"""A person's movement with the bone lengths of another person who does the same action.

From SkateFormer (ECCV 2024). Sizes: M persons, T frames, V joints.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.clip import Clip, happens
from flag3d_exp.data.poses import Poses, poses_of
from flag3d_exp.skeletons.layout import Layout

NUM_FRAMES = 8  # of a recording, in which its bones are measured
MAX_RATIO = 2.0  # of two lengths; a larger ratio is an error in the data


@dataclass(frozen=True)
class BoneLengths:
    """Give each bone its length in another recording of the class, keeping its direction; 3D only.

    In 2D a bone's length depends on the view. All persons of a clip change by the same ratios.

    Args:
        probability: of changing a clip.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0

    stage = "recording"
    dimensions = 3

    def __post_init__(self) -> None:
        bounds.check(self, "augment.bones")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with the bone lengths of a donor."""
        if not happens(self.probability, rng) or not clip.donors:
            return clip
        donor: Recording = clip.donors[int(rng.integers(len(clip.donors)))]
        if donor.keypoints.shape[2:] != clip.poses.keypoints.shape[2:]:
            return clip
        frames = np.linspace(0, donor.keypoints.shape[1] - 1, NUM_FRAMES).astype(np.int64)
        theirs = lengths(poses_of(donor, clip.score_threshold, frames), clip.layout)
        own_frames = np.linspace(0, clip.poses.visible.shape[1] - 1, NUM_FRAMES).astype(np.int64)
        own = lengths(clip.poses.frames(own_frames), clip.layout)
        known = (own > 0) & (theirs > 0)
        ratios = np.where(known, theirs / np.where(own > 0, own, 1), 1.0)
        ratios = np.clip(ratios, 1 / MAX_RATIO, MAX_RATIO)
        return clip.of(with_ratios(clip.poses, clip.layout, ratios))


def lengths(poses: Poses, layout: Layout) -> np.ndarray:
    """(V,) median bone length to each joint over frames that show both ends; 0 for the root and
    for bones that are never seen."""
    parents = np.array([p if p >= 0 else joint for joint, p in enumerate(layout.parents)])
    starts = poses.joints(parents)
    both = poses.visible & starts.visible
    distances = np.linalg.norm(poses.keypoints - starts.keypoints, axis=-1)  # (M, T, V)
    found = np.where(both, distances, np.nan).reshape(-1, layout.num_joints)
    seen = both.any((0, 1))
    medians = np.zeros(layout.num_joints)
    medians[seen] = np.nanmedian(found[:, seen], axis=0)
    return medians


def with_ratios(poses: Poses, layout: Layout, ratios: np.ndarray) -> Poses:
    """Poses with bones scaled by `ratios` (V,), built outwards from the root.

    A missing joint takes its parent's position first, so that its stored value has no effect.
    """
    order = outwards(layout)
    filled, built = poses.keypoints.copy(), poses.keypoints.copy()
    for joint in order:
        parent = layout.parents[joint]
        there = poses.visible[..., joint, None]
        if parent < 0:
            seen = np.maximum(poses.visible.sum(-1), 1)[..., None]
            filled[..., joint, :] = np.where(
                there, filled[..., joint, :], poses.keypoints.sum(2) / seen
            )
            built[..., joint, :] = filled[..., joint, :]
            continue
        filled[..., joint, :] = np.where(there, filled[..., joint, :], filled[..., parent, :])
        bone = filled[..., joint, :] - filled[..., parent, :]
        built[..., joint, :] = built[..., parent, :] + bone * np.float32(ratios[joint])
    return poses.moved_poses(built)


@cache
def outwards(layout: Layout) -> tuple[int, ...]:
    """The joints in an order in which each comes after its parent."""
    order: list[int] = []
    while len(order) < layout.num_joints:
        order += [
            joint
            for joint, parent in enumerate(layout.parents)
            if joint not in order and (parent < 0 or parent in order)
        ]
    return tuple(order)
