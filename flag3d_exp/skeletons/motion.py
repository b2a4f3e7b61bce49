"""The features of one person's motion that generating networks use, and joints from features.

A frame has 3 V + 3 features: the joints relative to the root (right, ahead, up), the root's step
from the frame before (right, ahead), and the root's height above the lowest joint of the clip. The
clip is turned so that the person faces ahead in its first frame.

Sizes: N clips, T frames, V joints, D features.
"""

from typing import NamedTuple

import numpy as np

from flag3d_exp.skeletons.layout import Layout

NUM_ROOT = 3  # features of the root
SIDES = ("shoulder", "hip")  # joints whose line from left to right tells the heading


class Motion(NamedTuple):
    """Features, and where the clip was.

    Args:
        features: (N, T, D) float32.
        headings: (N,) angle by which the clip was turned, radians.
        origins: (N, 3) the root's place in the first frame, and the height of the floor.
    """

    features: np.ndarray
    headings: np.ndarray
    origins: np.ndarray


def num_features(layout: Layout) -> int:
    """D."""
    return 3 * layout.num_joints + NUM_ROOT


def motion(joints: np.ndarray, there: np.ndarray, layout: Layout, root: np.ndarray) -> Motion:
    """The features of clips.

    A missing joint is interpolated over time; a joint that is missing in the whole clip is placed
    at the root.

    Args:
        joints: (N, T, V, 3) right, ahead, up.
        there: (N, T, V) bool, whether the joint is present.
        root: (V,) weights of the joints whose mean is the root.
    """
    joints = filled_joints(joints.astype(np.float64), there, root)
    headings = np.array([heading(one[0], layout) for one in joints])
    joints = turned_joints(joints, -headings)
    places = np.einsum("v,ntvd->ntd", root, joints)  # (N, T, 3)
    floor = joints[..., 2].min((1, 2))
    steps = np.diff(places[..., :2], axis=1, prepend=places[:, :1, :2])
    height = places[..., 2:] - floor[:, None, None]
    relative = (joints - places[:, :, None]).reshape(*joints.shape[:2], -1)
    features = np.concatenate([relative, steps, height], -1).astype(np.float32)
    starts = turned_joints(places[:, :1, None], headings)[:, 0, 0]
    return Motion(features, headings, np.column_stack([starts[:, :2], floor]))


def joints_of(features: np.ndarray) -> np.ndarray:
    """(N, T, V, 3) float32 joints (right, ahead, up) of features (N, T, D).

    The root is above the origin in the first frame.
    """
    relative = features[..., :-NUM_ROOT].reshape(*features.shape[:2], -1, 3).astype(np.float64)
    places = features[..., -NUM_ROOT:].astype(np.float64)
    places[:, 0, :2] = 0
    places[..., :2] = np.cumsum(places[..., :2], axis=1)
    return (relative + places[:, :, None]).astype(np.float32)


def returned_joints(joints: np.ndarray, headings: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Joints (N, T, V, 3) of `joints_of`, where and how the clips of `motion` were."""
    return (turned_joints(joints, headings) + origins[:, None, None]).astype(np.float32)


def heading(joints: np.ndarray, layout: Layout) -> float:
    """The angle of the line from the left to the right side of a frame (V, 3), radians."""
    pairs = [
        (layout.joint_number(f"left {side}"), layout.joint_number(f"right {side}"))
        for side in SIDES
    ]
    known = [(left, right) for left, right in pairs if left is not None and right is not None]
    known = known or list(layout.mirror_pairs)
    across = sum((joints[right] - joints[left] for left, right in known), np.zeros(3))
    return float(np.arctan2(across[1], across[0])) if np.hypot(*across[:2]) > 1e-6 else 0.0


def around_mean(angles: np.ndarray) -> np.ndarray:
    """The same angles (n,), radians, within half a turn of their mean on the circle."""
    mean = np.angle(np.exp(1j * angles).mean())
    return mean + np.angle(np.exp(1j * (angles - mean)))


def turned_joints(joints: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Joints (N, ..., 3), each clip turned about the upward axis by its angle (N,), radians."""
    shape = (-1, *[1] * (joints.ndim - 2))
    cosine, sine = np.cos(angles).reshape(shape), np.sin(angles).reshape(shape)
    right, ahead, up = np.moveaxis(joints, -1, 0)
    return np.stack([right * cosine - ahead * sine, right * sine + ahead * cosine, up], -1)


def filled_joints(joints: np.ndarray, there: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Joints (N, T, V, 3) with missing ones interpolated, see `motion`."""
    if there.all():
        return joints
    joints, frames = joints.copy(), np.arange(joints.shape[1])
    for clip, seen in zip(joints, there, strict=True):
        for joint in np.flatnonzero(~seen.all(0) & seen.any(0)):
            known = seen[:, joint]
            for axis in range(3):
                values = clip[known, joint, axis]
                clip[:, joint, axis] = np.interp(frames, frames[known], values)
        lost = ~seen.any(0)
        weights = root * ~lost if (root * ~lost).any() else (~lost).astype(float)
        if lost.any() and weights.any():
            clip[:, lost] = np.einsum("v,tvd->td", weights / weights.sum(), clip)[:, None]
    return joints
