"""The upward axis of 3D recordings, and the size of persons in them."""

from collections.abc import Sequence

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.camera import VirtualCameras
from flag3d_exp.data.poses import poses_of
from flag3d_exp.skeletons.layout import Layout

AXES = "xyz"
NUM_LOOKED_AT = 200  # number of recordings to measure
SIZES = (0.4, 3.0)  # metres, plausible range of a person's longest side


def upward_axis(recordings: Sequence[Recording], layout: Layout) -> int:
    """The axis from feet to heads: 0, 1 or 2, or -1, -2 or -3 if it points down.

    2D keypoints are in pixels, and their second axis points down.
    """
    if recordings[0].keypoints.shape[-1] == 2:
        return -2
    head = [j for j, name in enumerate(layout.joints) if "head" in name or "nose" in name]
    feet = [j for j, name in enumerate(layout.joints) if "ankle" in name or "foot" in name]
    if not head or not feet:
        return 2
    height = np.zeros(3)
    for recording in recordings:
        poses = poses_of(recording)
        frames = np.maximum(poses.visible[0].sum(axis=0), 1)
        first = poses.keypoints[0].astype(np.float64).sum(axis=0) / frames[:, None]  # (V, C)
        height += first[head].mean(axis=0) - first[feet].mean(axis=0)
    axis = int(np.abs(height).argmax())
    return axis if height[axis] > 0 else -1 - axis


def person_size(recordings: Sequence[Recording]) -> float:
    """Median over recordings of the longest side of the first person's bounding box.

    The box is measured in the frame with the most visible joints; 0 if nobody is visible.
    """
    sizes = []
    for recording in recordings:
        poses = poses_of(recording)
        if not len(poses.visible):
            continue
        frame = int(poses.visible[0].sum(1).argmax())
        seen = poses.keypoints[0, frame][poses.visible[0, frame]]
        if len(seen):
            sizes.append(float(np.ptp(seen.astype(np.float64), axis=0).max()))
    return float(np.median(sizes)) if sizes else 0.0


def doubts(
    cameras: VirtualCameras, recordings: Sequence[Recording], metres: float = 1.0
) -> list[str]:
    """Warnings about cameras for these recordings, a sentence each.

    Cameras are placed around the upward axis at a distance of some metres.

    Args:
        metres: factor that converts coordinates to metres.
    """
    solid = [one for one in recordings if one.keypoints.shape[-1] == 3]
    some = solid[:: max(1, len(solid) // NUM_LOOKED_AT)]
    if not some:
        return []
    found = []
    axis = upward_axis(some, cameras.skeleton)
    if axis < 0:
        found.append(
            f"heads are below feet along axis {AXES[-1 - axis]}, so cameras see persons upside "
            "down or lying; rotate the recordings so that an axis points upwards."
        )
    elif AXES[axis] != cameras.up:
        found.append(
            f"`{cameras.key}.up={cameras.up}`, but persons stand along {AXES[axis]}, so "
            f"cameras see them lying; set `{cameras.key}.up={AXES[axis]}`."
        )
    size = person_size(some) * metres
    if size and not SIZES[0] <= size <= SIZES[1]:
        found.append(
            f"`{cameras.key}` needs coordinates in metres, but the median size of persons is "
            f"{size:.3g}; convert the recordings to metres."
        )
    return found
