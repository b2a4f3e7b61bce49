"""Controlled corruptions of recordings, by degree, for tests of a network's robustness.

A missing joint stays missing: its coordinates and its score are 0.

Sizes: M persons, T frames, V joints, D coordinates.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.clip import box_size
from flag3d_exp.data.poses import Poses, poses_of
from flag3d_exp.data.transforms import mapped_poses, rotation
from flag3d_exp.skeletons.layout import Layout

Disturbance = Callable[[Recording, Layout, float, np.random.Generator], Recording]


def fewer_frames(
    recording: Recording, layout: Layout, share: float, rng: np.random.Generator
) -> Recording:
    """The recording at a lower frame rate: every 1 / `share`-th frame."""
    num_frames = recording.keypoints.shape[1]
    kept = np.floor(np.arange(max(int(num_frames * share), 1)) / share).astype(np.int64)
    return _frames(recording, np.minimum(kept, num_frames - 1))


def cropped_recording(
    recording: Recording, layout: Layout, share: float, rng: np.random.Generator
) -> Recording:
    """A random part of the recording with this share of its frames."""
    num_frames = recording.keypoints.shape[1]
    length = max(int(num_frames * share), 1)
    first = int(rng.integers(num_frames - length + 1))
    return _frames(recording, np.arange(first, first + length))


def lost_joints(
    recording: Recording, layout: Layout, share: float, rng: np.random.Generator
) -> Recording:
    """The recording with this share of the joints missing, drawn for each frame."""
    poses = poses_of(recording)
    lost = rng.random(poses.visible.shape) < share
    return _of(recording, Poses(poses.keypoints, poses.visible & ~lost, poses.scores))


def jittered_recording(
    recording: Recording, layout: Layout, share: float, rng: np.random.Generator
) -> Recording:
    """The recording with normal noise; the standard deviation is relative to the person's size."""
    poses = poses_of(recording)
    error = rng.standard_normal(poses.keypoints.shape, np.float32)
    return _of(
        recording, poses.moved_poses(poses.keypoints + error * np.float32(share * box_size(poses)))
    )


def rotated_recording(
    recording: Recording, layout: Layout, angle: float, rng: np.random.Generator
) -> Recording:
    """The recording rotated by plus or minus this angle in radians: in 2D in the image plane, in
    3D about each axis."""
    poses = poses_of(recording)
    seen = poses.keypoints[poses.visible]
    if not len(seen):
        return recording
    size = poses.keypoints.shape[-1]
    signs = rng.choice([-1.0, 1.0], 3 if size == 3 else 1)
    middle = seen.mean(0)
    turned = mapped_poses(poses.moved_poses(poses.keypoints - middle), rotation(angle * signs))
    return _of(recording, turned.moved_poses(turned.keypoints + middle))


def mirrored_recording(
    recording: Recording, layout: Layout, degree: float, rng: np.random.Generator
) -> Recording:
    """The mirror image, with left and right joints exchanged; `degree` is not used."""
    poses = poses_of(recording).joints(layout.mirror_order)
    keypoints = poses.keypoints.copy()
    width = 0 if recording.image_shape is None else recording.image_shape[1]
    keypoints[..., 0] = width - keypoints[..., 0]
    return _of(recording, poses.moved_poses(keypoints))


def _frames(recording: Recording, indices: np.ndarray) -> Recording:
    scores = recording.scores
    return replace(
        recording,
        keypoints=recording.keypoints.take(indices, 1),
        scores=None if scores is None else scores.take(indices, 1),
        repetitions=None,
    )


def _of(recording: Recording, poses: Poses) -> Recording:
    """The recording with other poses; a visible joint at exactly 0 would count as missing."""
    return replace(recording, keypoints=poses.keypoints, scores=poses.scores)
