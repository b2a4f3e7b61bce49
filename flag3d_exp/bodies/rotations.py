"""Rotations as matrices (..., 3, 3), which act on column vectors, and as quaternions x, y, z, w."""

import numpy as np

EPSILON = 1e-9


def unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors (..., 3) at length 1; zero vectors stay 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), EPSILON)


def rotated_vectors(rotations: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Each vector (..., 3) rotated by its rotation (..., 3, 3)."""
    return (rotations @ vectors[..., None])[..., 0]


def inverse(rotations: np.ndarray) -> np.ndarray:
    """The inverse rotations (..., 3, 3)."""
    return np.swapaxes(rotations, -1, -2)


def shortest_arc(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(..., 3, 3) smallest rotations that turn unit vectors (..., 3) to others.

    The rotation between opposite vectors is not unique; one of them is returned. A zero vector
    gives the identity.
    """
    start, end = np.broadcast_arrays(start, end)
    cosine = (start * end).sum(-1)
    quaternion = np.concatenate([np.cross(start, end), (1 + cosine)[..., None]], axis=-1)
    opposite = cosine < -1 + 1e-8
    if opposite.any():
        smallest = np.eye(3)[np.abs(start).argmin(-1)]
        half_turn = np.zeros_like(quaternion)
        half_turn[..., :3] = unit(np.cross(start, smallest))
        quaternion = np.where(opposite[..., None], half_turn, quaternion)
    return matrices(quaternion)


def about(axes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations about unit axes (..., 3) by angles (...) in radians."""
    half = np.asarray(angles) / 2
    vector = axes * np.sin(half)[..., None]
    scalar = np.broadcast_to(np.cos(half)[..., None], (*vector.shape[:-1], 1))
    return matrices(np.concatenate([vector, scalar], axis=-1))


def matrices(quaternions: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations of quaternions (..., 4) of any length above 0."""
    norm = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    x, y, z, w = np.moveaxis(quaternions / np.maximum(norm, EPSILON), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """(..., 4) unit quaternions, with w >= 0, of rotations (..., 3, 3)."""
    m = rotations
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    # Four candidates; the one with the largest pivot is exact (Shepperd, 1978).
    pivots = np.stack([m[..., 0, 0], m[..., 1, 1], m[..., 2, 2], trace], axis=-1)
    best = pivots.argmax(-1)[..., None, None]
    upper = [m[..., 2, 1], m[..., 0, 2], m[..., 1, 0]]
    lower = [m[..., 1, 2], m[..., 2, 0], m[..., 0, 1]]
    dx, dy, dz = (one - other for one, other in zip(upper, lower, strict=True))
    yz, xz, xy = (one + other for one, other in zip(upper, lower, strict=True))
    xx, yy, zz = (1 + 2 * m[..., axis, axis] - trace for axis in range(3))
    candidates = np.stack(
        [
            np.stack([xx, xy, xz, dx], axis=-1),
            np.stack([xy, yy, yz, dy], axis=-1),
            np.stack([xz, yz, zz, dz], axis=-1),
            np.stack([dx, dy, dz, 1 + trace], axis=-1),
        ],
        axis=-2,
    )  # (..., 4 candidates, 4)
    chosen = np.take_along_axis(candidates, np.broadcast_to(best, (*best.shape[:-1], 4)), -2)
    chosen = chosen[..., 0, :]
    chosen = chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
    return np.where(chosen[..., 3:] < 0, -chosen, chosen)


def partial(rotations: np.ndarray, share: float) -> np.ndarray:
    """(..., 3, 3) rotations about the same axes by a share of the angles."""
    found = quaternions(rotations)
    sine = np.linalg.norm(found[..., :3], axis=-1)
    angles = 2 * np.arctan2(sine, found[..., 3])
    return about(unit(found[..., :3]), share * angles)


def kabsch(
    points: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T, 3, 3) and translations (T, 3) that move points to targets, by least squares.

    Kabsch, "A solution for the best rotation to relate two sets of vectors", 1976; no reflection.

    Args:
        points: (K, 3).
        targets: (T, K, 3).
        weights: (T, K), not all 0 in a frame.
    """
    shares = weights / np.maximum(weights.sum(-1, keepdims=True), EPSILON)
    middle = shares @ points  # (T, 3)
    target_middle = np.einsum("tk,tkc->tc", shares, targets)
    spread = points - middle[:, None]  # (T, K, 3)
    covariance = np.einsum("tk,tki,tkj->tij", shares, targets - target_middle[:, None], spread)
    left, _, right = np.linalg.svd(covariance)
    left[..., 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    rotations = left @ right
    return rotations, target_middle - rotated_vectors(rotations, middle)
