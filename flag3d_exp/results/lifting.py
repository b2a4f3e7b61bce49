"""Errors of 3D joints that were predicted from 2D, as distances to the measured ones.

MPJPE is the mean distance of a joint, both poses moved so that their roots coincide; N-MPJPE the
same after the best scale (Rhodin et al., CVPR 2018), PA-MPJPE after the best similarity without a
mirror (Procrustes analysis), both found for each frame; MPJVE the mean distance of the joints'
changes from frame to frame (Pavllo et al., CVPR 2019). The root counts as a joint.

Sizes: T frames, V joints.
"""

from collections.abc import Sequence

import numpy as np

METRICS = ("mpjpe", "pa_mpjpe", "n_mpjpe", "mpjve")
LEAST_JOINTS = 4  # of a frame, for a similarity to be found
TINY = 1e-12


def joint_errors(
    predicted: np.ndarray, true: np.ndarray, counted: np.ndarray, root: np.ndarray
) -> np.ndarray:
    """(..., T, V, 4) distances in the units of the joints, in the order of `METRICS`.

    NaN where a joint does not count: it is not measured, or the root of its frame is not; for
    PA-MPJPE also where a frame has fewer than 4 joints, for MPJVE in the first frame and where the
    joint did not count in the frame before.

    Args:
        predicted, true: (..., T, V, 3).
        counted: (..., T, V) bool: which joints are measured.
        root: (V,) weights, whose sum is 1, of the joints whose mean is the root.
    """
    counted = counted & counted[..., root > 0].all(-1, keepdims=True)
    weights = counted[..., None].astype(np.float64)
    own, known = relative(predicted, root), relative(true, root)
    moved = np.zeros(counted.shape)
    moved[..., 1:, :] = _lengths(np.diff(own - known, axis=-3))
    both = np.zeros_like(counted)
    both[..., 1:, :] = counted[..., 1:, :] & counted[..., :-1, :]
    enough = counted & (counted.sum(-1, keepdims=True) >= LEAST_JOINTS)
    found = (
        (_lengths(own - known), counted),
        (_lengths(aligned_joints(own, known, weights) - known), enough),
        (_lengths(scaled_joints(own, known, weights) - known), counted),
        (moved, both),
    )
    return np.stack([np.where(there, errors, np.nan) for errors, there in found], axis=-1)


def relative(joints: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Joints (..., V, 3), float64, minus the root of their frame."""
    joints = joints.astype(np.float64)
    known = np.flatnonzero(root)
    return joints - (joints[..., known, :] * root[known, None]).sum(-2, keepdims=True)


def scaled_joints(joints: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Joints (..., V, 3) times the scale that brings them nearest to the target.

    Args:
        weights: (..., V, 1), 0 for joints that do not count.
    """
    axes = (-2, -1)
    product = (weights * joints * target).sum(axes, keepdims=True)
    return joints * (product / np.maximum((weights * joints**2).sum(axes, keepdims=True), TINY))


def aligned_joints(joints: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Joints (..., V, 3) after the similarity that brings them nearest to the target.

    Rotation, scale and translation of each frame, without a mirror (Umeyama, PAMI 1991).

    Args:
        weights: as `scaled_joints` takes them.
    """
    total = np.maximum(weights.sum(-2, keepdims=True), 1)
    middle = (weights * joints).sum(-2, keepdims=True) / total
    goal = (weights * target).sum(-2, keepdims=True) / total
    own, other = joints - middle, target - goal
    left, strengths, right = np.linalg.svd(np.swapaxes(weights * own, -1, -2) @ other)
    signs = np.ones_like(strengths)
    signs[..., -1] = np.where(np.linalg.det(left @ right) < 0, -1, 1)
    rotation = (left * signs[..., None, :]) @ right
    spread = np.maximum((weights * own**2).sum((-2, -1)), TINY)
    scale = (strengths * signs).sum(-1) / spread
    return scale[..., None, None] * (own @ rotation) + goal


def sums(errors: np.ndarray) -> np.ndarray:
    """(n, V, 8): the sum of each metric's distances and how many there are, of (n, ..., V, 4)."""
    there = np.isfinite(errors)
    between = tuple(range(1, errors.ndim - 2))
    totals = np.where(there, errors, 0).sum(between)
    return np.concatenate([totals, there.sum(between)], axis=-1)


def means(totals: np.ndarray) -> np.ndarray:
    """(..., 4) mean distances from sums (..., 8); NaN where nothing counts."""
    distances, numbers = np.split(totals.astype(np.float64), 2, axis=-1)
    return np.where(numbers > 0, distances / np.maximum(numbers, 1), np.nan)


def error_table(
    errors: np.ndarray,
    labels: np.ndarray,
    joints: Sequence[str],
    measures: Sequence[str],
    class_names: Sequence[str],
) -> list[dict[str, str | float]]:
    """A row for all recordings, for each joint and for each class that there is: the mean errors.

    Means over recordings, NaN left out.

    Args:
        errors: (n, V, K) of each recording.
        labels: (n,).
        joints, measures, class_names: what the numbers along V and K and the labels are called.
    """
    parts: list[tuple[str, str, np.ndarray]] = [
        ("all", "all", errors.reshape(-1, errors.shape[-1]))
    ]
    parts += [("joint", name, errors[:, joint]) for joint, name in enumerate(joints)]
    for label in np.unique(labels).tolist():
        name = str(class_names[label]) if label < len(class_names) else str(label)
        parts.append(("class", name, errors[labels == label].reshape(-1, errors.shape[-1])))
    rows: list[dict[str, str | float]] = []
    for kind, name, found in parts:
        there = np.isfinite(found)
        count = there.sum(0)
        means = np.where(there, found, 0).sum(0) / np.maximum(count, 1)
        values = np.where(count > 0, means, np.nan).round(4).tolist()
        rows.append({"of": kind, "name": name} | dict(zip(measures, values, strict=True)))
    return rows


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)
