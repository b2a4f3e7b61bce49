"""Simulated errors of a pose estimator: jitter, scores, lost joints and frames, swapped sides.

The noise model and its constants are from MotionBERT (Zhu et al., ICCV 2023): displacements at key
frames, interpolated linearly. MotionBERT's coordinates are within [-1, 1] of an image, and a person
fills half of it.

Sizes: M persons, T frames, V joints, D coordinates, K key frames.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.augment.clip import Clip, box_size, happens, in_stretches
from flag3d_exp.data.poses import Poses
from flag3d_exp.skeletons.layout import Layout, adjacency, hop_distance

SMALL = (0.0035, 0.0095)  # standard deviation of a small error: middle of the body, its ends
LIKELY = (0.999, 0.75)  # probability that an error is small: middle of the body, its ends
LARGE = 0.03  # other errors are uniform within plus and minus this
JITTER = 0.002  # standard deviation of independent noise in each frame
# Confidence at a displacement d: A / (d + A) + B d + N(MEAN, DEVIATION).
A, B, MEAN, DEVIATION = 0.028, 1.1, -0.0046, 0.143
LEAST_SCORE = 0.02  # of a visible joint


@dataclass(frozen=True)
class DetectorNoise:
    """Add the errors of a pose estimator. Lengths are relative to the person's bounding box.

    Args:
        probability: of changing a clip.
        strength: factor on all displacements.
        key_frames: number of key frames at which displacements are drawn.
        missing: share of the joints that are lost, drawn for each frame.
        missing_frames: share of the frames in which all joints are lost.
        exchanged: share of the frames in which left and right are exchanged.
        exchange_frames: length of each exchange, in frames.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0
    strength: Annotated[float, ">= 0"] = 1.0
    key_frames: Annotated[int, ">= 2"] = 27
    missing: Annotated[float, ">= 0, <= 1"] = 0.05
    missing_frames: Annotated[float, ">= 0, <= 1"] = 0.1
    exchanged: Annotated[float, ">= 0, <= 1"] = 0.01
    exchange_frames: Annotated[int, ">= 1"] = 8

    stage = "recording"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.noise")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with errors; scores, if known, fall with the displacement."""
        if not happens(self.probability, rng):
            return clip
        poses = clip.poses
        num_persons, num_frames, num_joints, num_coordinates = poses.keypoints.shape
        swapped = in_stretches(num_frames, self.exchanged, self.exchange_frames, rng)
        poses = exchanged_poses(poses, swapped, clip.layout)
        error = self.strength * displacement(
            (num_persons, num_frames, num_joints, num_coordinates),
            clip.layout,
            self.key_frames,
            rng,
        )
        keypoints = poses.keypoints + error * np.float32(box_size(poses))
        visible = poses.visible & ~lost_joints(
            poses.visible.shape, self.missing, self.missing_frames, rng
        )
        scores = poses.scores
        if scores is not None:
            scores = scores * confidence(np.linalg.norm(error, axis=-1), rng)
        return clip.of(Poses(keypoints, visible, scores))


def exchanged_poses(poses: Poses, frames: np.ndarray, layout: Layout) -> Poses:
    """Poses with left and right exchanged in the chosen frames (T,) bool."""
    if not frames.any():
        return poses
    others = poses.joints(layout.mirror_order)
    chosen = frames[:, None]  # (T, 1)
    scores = poses.scores
    if scores is not None and others.scores is not None:
        scores = np.where(chosen, others.scores, scores)
    return Poses(
        np.where(chosen[..., None], others.keypoints, poses.keypoints),
        np.where(chosen, others.visible, poses.visible),
        scores,
    )


def displacement(
    shape: tuple[int, int, int, int], layout: Layout, key_frames: int, rng: np.random.Generator
) -> np.ndarray:
    """(M, T, V, D) float32 errors relative to a person's size: drawn at K frames, interpolated."""
    num_persons, num_frames, num_joints, num_coordinates = shape
    far = remoteness(layout)
    deviation = (SMALL[0] + (SMALL[1] - SMALL[0]) * far).astype(np.float32)
    likely = LIKELY[0] + (LIKELY[1] - LIKELY[0]) * far
    keys = (num_persons, key_frames, num_joints, num_coordinates)
    small = rng.standard_normal(keys, np.float32) * deviation[:, None]
    large = (2 * rng.random(keys, np.float32) - 1) * np.float32(LARGE)
    is_small = rng.random(keys[:3], np.float32) < likely
    drawn = np.where(is_small[..., None], small, large)
    place = np.linspace(0, key_frames - 1, num_frames)
    before = np.minimum(place.astype(np.int64), key_frames - 2)
    after = (place - before).astype(np.float32)[:, None, None]  # (T, 1, 1)
    start, end = drawn[:, before], drawn[:, before + 1]
    return start + (end - start) * after + JITTER * rng.standard_normal(shape, np.float32)


def lost_joints(
    shape: tuple[int, ...], joints: float, frames: float, rng: np.random.Generator
) -> np.ndarray:
    """(M, T, V) bool: joints that are lost, either single ones or all of a frame."""
    single = rng.random(shape, np.float32) < joints
    whole = rng.random((*shape[:2], 1), np.float32) < frames
    return single | whole


def confidence(distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scores of joints with errors of these distances, relative to a person's size."""
    mean = A / (distance + A) + B * distance + MEAN
    drawn = mean + DEVIATION * rng.standard_normal(distance.shape, np.float32)
    return np.clip(drawn, LEAST_SCORE, 1).astype(np.float32)


@cache
def remoteness(layout: Layout) -> np.ndarray:
    """(V,) hops from each joint to the skeleton's centre, divided by the largest."""
    hops = hop_distance(adjacency(layout, "binary_adj")[0])[layout.center]
    hops = np.where(np.isfinite(hops), hops, 0)
    return hops / max(hops.max(), 1)
