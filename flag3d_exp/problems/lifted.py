"""Whole 2D recordings in 3D, from what a network of `problem=lift` says of their windows.

Sizes: M persons, T frames of a recording, L frames of a window, V joints of the network, W windows.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.camera import UPWARD
from flag3d_exp.data.poses import visible
from flag3d_exp.data.roots import root_path, root_weights
from flag3d_exp.data.sampling import successive_indices
from flag3d_exp.problems.lift import Lift
from flag3d_exp.results import lifting
from flag3d_exp.results.timeline import window_starts
from flag3d_exp.skeletons.layout import Layout
from flag3d_exp.skeletons.mapping import joint_sources, relaid

Network = Callable[[np.ndarray], np.ndarray]  # keypoints (W, L, V, 3) -> joints (W, L, V, 3)


def lifted(
    recording: Recording,
    layout: Layout,
    problem: Lift,
    network: Network,
    hop: int,
    score_threshold: float | None = None,
) -> Recording:
    """The recording in 3D, with the joints, the upward axis and the unit of the training's.

    The camera's axis is horizontal. A person moves as the root does in the image, at a constant
    distance, and the lowest joint is at height 0. A joint that is missing in the 2D frame is
    missing; one that the 2D layout does not have is there where somebody is seen.

    Args:
        recording: 2D keypoints of `layout`, x to the right and y down.
        hop: frames from one window to the next; they are averaged, their middles most.
        score_threshold: joints with a score of at most this are missing; None: of at most 0.
    """
    places, scores = recording.keypoints.astype(np.float32), recording.scores
    there = visible(places, scores, score_threshold)
    sources = joint_sources(layout, problem.skeleton)
    confidences = there.astype(np.float32) if scores is None else scores * there
    places, confidences = relaid(places * there[..., None], confidences, sources)
    seen = (places != 0).any(-1) & problem.known
    joints = np.stack(
        [
            person_in_3d(one, own, problem, network, hop)
            for one, own in zip(places, seen, strict=True)
        ]
    )
    found = np.where(problem.known, seen, seen.any(-1, keepdims=True))
    made = standing(joints, found, problem.cameras.up) / np.float32(problem.metres)
    kept = None
    if scores is not None and confidences is not None:
        count = np.maximum(seen.sum(-1, keepdims=True), 1)
        mean = (confidences * seen).sum(-1, keepdims=True) / count
        kept = (np.where(problem.known, confidences, mean) * found).astype(np.float32)
    return replace(recording, keypoints=made * found[..., None], scores=kept, image_shape=None)


def person_in_3d(
    places: np.ndarray, seen: np.ndarray, problem: Lift, network: Network, hop: int
) -> np.ndarray:
    """(T, V, 3) metres to the right, down and ahead, of 2D joints (T, V, 2) and which are seen."""
    num_frames, length = len(places), problem.clip_len
    if not seen.any():
        return np.zeros((*seen.shape, 3), np.float32)
    indices = successive_indices(num_frames, length, window_starts(num_frames, length, hop))
    indices = indices[seen.any(-1)[indices].any(-1)]  # (W, L)
    # Each window is measured by itself, as clips of a training are.
    keypoints = problem.keypoints(places[indices], seen[indices])
    root = root_weights(problem.skeleton)
    joints = lifting.relative(network(keypoints), root)
    weights = 1 + np.minimum(np.arange(length), np.arange(length)[::-1])
    total, weight = np.zeros((*seen.shape, 3)), np.zeros(num_frames)
    for frames, one in zip(indices, joints, strict=True):
        np.add.at(total, frames, weights[:, None, None] * one)
        np.add.at(weight, frames, weights)
    mean = total / np.maximum(weight, 1)[:, None, None]
    path = root_path(places, seen, root)
    mean[..., :2] += (metres_per_pixel(places - path[:, None], mean, seen) * path)[:, None]
    return mean.astype(np.float32)


def metres_per_pixel(places: np.ndarray, joints: np.ndarray, seen: np.ndarray) -> float:
    """The scale that brings 2D joints (T, V, 2) nearest to x and y of 3D joints (T, V, 3)."""
    flat, solid = places[seen], joints[..., :2][seen]
    return float((flat * solid).sum() / max((flat**2).sum(), 1e-9))


def standing(joints: np.ndarray, there: np.ndarray, up: str) -> np.ndarray:
    """(M, T, V, 3) of joints to the right, down and ahead: the axis `up` points upwards.

    They are moved so that the lowest one is at height 0 and their middle on the axis.
    """
    right, down, ahead = np.moveaxis(joints, -1, 0)
    upward = np.stack([right, ahead, -down], axis=-1)
    if there.any():
        points = upward[there]
        middle = (points.min(0) + points.max(0)) / 2
        upward = upward - [middle[0], middle[1], points[:, 2].min()]
    made = np.zeros_like(joints)
    made[..., UPWARD[up]] = upward
    return made
