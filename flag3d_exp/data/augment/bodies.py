"""New bodies and poses made from recorded ones, for training networks that lift 2D to 3D.

A lifting network overfits to the exercises of its training data and their combinations of limbs.
Exchanging arms and legs between clips and changing bone lengths makes it learn the body instead
(in PoseAug, Gong et al., CVPR 2021, such changes are learned).

Sizes: N clips, M persons, T frames, V joints.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.augment.bones import MAX_RATIO, outwards
from flag3d_exp.skeletons.layout import Layout

# Joints where limbs are attached to the trunk, and joints in the middle of a limb.
ATTACHED = ("left shoulder", "right shoulder", "left hip", "right hip")
BENDING = ("left elbow", "right elbow", "left knee", "right knee")


@dataclass(frozen=True)
class Bodies:
    """Random changes of the 3D joints of a batch, constant over each clip.

    Args:
        probability: of changing a clip; mirroring has its own probability.
        limbs: probability that an arm or a leg comes from another clip of the batch.
        lengths: probability that a clip gets the bone lengths of another clip.
        turn: standard deviation of the rotation of each limb, and of its lower part, about a
            random axis, degrees.
        tilt: standard deviation of the rotation of the body about a horizontal axis, degrees.
        mirror: probability of the mirror image.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.5
    limbs: Annotated[float, ">= 0, <= 1"] = 0.5
    lengths: Annotated[float, ">= 0, <= 1"] = 0.5
    turn: Annotated[float, ">= 0, <= 180"] = 20.0
    tilt: Annotated[float, ">= 0, <= 180"] = 10.0
    mirror: Annotated[float, ">= 0, <= 1"] = 0.5

    def __post_init__(self) -> None:
        bounds.check(self, "problem.bodies")

    def __call__(
        self, joints: np.ndarray, there: np.ndarray, layout: Layout, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Changed joints (N, M, T, V, 3) float32, z upwards, and whether each exists (N, M, T, V).

        In a changed clip, a joint is missing if any joint between it and the root is missing.
        """
        changed = rng.random(len(joints)) < self.probability
        made, found = self._changed_clips(joints, there, layout, rng)
        made = np.where(changed[:, None, None, None, None], made, joints)
        found = np.where(changed[:, None, None, None], found, there)
        mirrored = rng.random(len(joints)) < self.mirror
        order = layout.mirror_order
        made[mirrored] = made[mirrored][..., order, :] * np.array([-1, 1, 1], np.float32)
        found[mirrored] = found[mirrored][..., order]
        return made * found[..., None], found

    def _changed_clips(
        self, joints: np.ndarray, there: np.ndarray, layout: Layout, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """All clips with exchanged and rotated limbs, other bone lengths and a tilt."""
        starts = np.array([p if p >= 0 else joint for joint, p in enumerate(layout.parents)])
        bones = joints - joints[..., starts, :]
        known = there & there[..., starts]
        num_clips = len(joints)
        for limb in parts(layout, ATTACHED):
            others = rng.permutation(num_clips)
            taken = rng.random(num_clips) < self.limbs
            taken &= known[others][..., limb].any((1, 2, 3))
            source = np.where(taken, others, np.arange(num_clips))
            bones[..., limb, :] = bones[source][..., limb, :]
            known[..., limb] = known[source][..., limb]
            bones[..., limb, :] = turned_vectors(bones[..., limb, :], self._turns(num_clips, rng))
        for part in parts(layout, BENDING):
            bones[..., part, :] = turned_vectors(bones[..., part, :], self._turns(num_clips, rng))
        bones *= self._ratios(bones, known, rng)[:, None, None, :, None]
        built, found = joints.copy(), there.copy()
        for joint in outwards(layout):
            parent = layout.parents[joint]
            if parent >= 0:
                built[..., joint, :] = built[..., parent, :] + bones[..., joint, :]
                found[..., joint] = found[..., parent] & known[..., joint]
        angles = rng.uniform(0, 2 * np.pi, num_clips)
        axes = np.stack([np.cos(angles), np.sin(angles), np.zeros(num_clips)], axis=-1)
        tilts = np.radians(self.tilt) * rng.standard_normal(num_clips)
        return turned_vectors(built, rotations(axes, tilts)), found

    def _turns(self, num_clips: int, rng: np.random.Generator) -> np.ndarray:
        """(N, 3, 3) random rotations of a limb."""
        axes = rng.standard_normal((num_clips, 3))
        axes /= np.maximum(np.linalg.norm(axes, axis=-1, keepdims=True), 1e-9)
        return rotations(axes, np.radians(self.turn) * rng.standard_normal(num_clips))

    def _ratios(self, bones: np.ndarray, known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, V) float32 ratios of new to old bone lengths."""
        lengths = np.linalg.norm(bones, axis=-1) * known
        means = lengths.sum((1, 2)) / np.maximum(known.sum((1, 2)), 1)  # (N, V)
        theirs = means[rng.permutation(len(bones))]
        usable = (means > 0) & (theirs > 0) & (rng.random((len(bones), 1)) < self.lengths)
        ratios = np.where(usable, theirs / np.where(means > 0, means, 1), 1.0)
        return np.clip(ratios, 1 / MAX_RATIO, MAX_RATIO).astype(np.float32)


def turned_vectors(vectors: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """(N, ..., 3) vectors of each clip, rotated by its matrix (N, 3, 3)."""
    shape = vectors.shape
    flat = vectors.reshape(shape[0], -1, 3)
    return (flat @ matrices.swapaxes(1, 2).astype(vectors.dtype)).reshape(shape)


def rotations(axes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations by angles (N,) in radians about unit axes (N, 3) (Rodrigues)."""
    x, y, z = axes.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    sines, cosines = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    return np.eye(3) + sines * cross + (1 - cosines) * cross @ cross


@cache
def parts(layout: Layout, names: tuple[str, ...]) -> tuple[list[int], ...]:
    """The descendants in the layout of each named joint; joints without any are left out."""
    found = []
    for name in names:
        top = layout.joint_number(name)
        below: list[int] = []
        for joint in outwards(layout):
            if layout.parents[joint] in (*below, top) and joint != top:
                below.append(joint)
        if top is not None and below:
            found.append(below)
    return tuple(found)
