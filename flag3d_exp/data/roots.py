"""2D joints relative to the root of the body, scaled by the person's size.

Sizes: M persons, T frames, V joints.
"""

import numpy as np

from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import Layout

BASE, HIPS = "base of spine", ("left hip", "right hip")  # the root, or two joints around it


def root_weights(layout: Layout, needed_by: str = "problem=lift") -> np.ndarray:
    """(V,) weights of the joints whose mean is the root.

    Args:
        needed_by: choice that needs them, for the message.

    Raises:
        UserError: the layout has no such joints.
    """
    joints = dict(layout.places).get(BASE)
    for names in ((BASE,), HIPS):
        if joints is None:
            found = [layout.joint_number(name) for name in names]
            joints = None if None in found else tuple(one for one in found if one is not None)
    if joints is not None:
        weights = np.zeros(layout.num_joints)
        weights[list(joints)] = 1 / len(joints)
        return weights
    raise UserError(
        f"layout {layout.name} has neither a base of the spine nor two hips, which "
        f"`{needed_by}` needs as the root."
    )


def measured_from_root(pixels: np.ndarray, seen: np.ndarray, root: np.ndarray) -> np.ndarray:
    """(M, T, V, 3) float32: x and y relative to the root and the person's size, and 1 if seen.

    The size of a person is the root mean square of the joints' distances from the root, over all
    frames. In frames without the root, its position is interpolated; if it is never seen, the mean
    of the joints is used.

    Args:
        pixels: (M, T, V, 2).
        seen: (M, T, V) bool.
        root: (V,) weights of the joints whose mean is the root.
    """
    made = np.zeros((*seen.shape, 3), np.float32)
    for person, (places, there) in enumerate(zip(pixels, seen, strict=True)):
        if not there.any():
            continue
        from_root = places - root_path(places, there, root)[:, None]
        size = np.sqrt(np.square(from_root[there]).sum(-1).mean())
        made[person, ..., :2] = from_root / max(size, 1e-9) * there[..., None]
        made[person, ..., 2] = there
    return made


def root_path(places: np.ndarray, there: np.ndarray, root: np.ndarray) -> np.ndarray:
    """(T, 2) position of a person's root, see `measured_from_root`."""
    found = there[:, root > 0].all(-1)
    weights = np.where(found.any(), root, there)  # (V,) or (T, V)
    if not found.any():
        found = there.any(-1)
    weights = np.broadcast_to(weights, there.shape)
    total = np.maximum(weights.sum(-1, keepdims=True), 1e-9)
    path = (weights[..., None] * places).sum(-2) / total
    frames = np.arange(len(places))
    return np.stack([np.interp(frames, frames[found], axis[found]) for axis in path.T], axis=-1)
