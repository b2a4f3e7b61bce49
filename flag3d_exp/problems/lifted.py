"""Whole 2D recordings lifted to 3D, window by window, with a network of `problem=lift`.

Sizes: M persons, T frames of a recording, L frames of a window, V joints of the network, W windows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

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
AT_ONCE = 512  # windows per call of the network, at least


def lifted_recordings(
    recordings: Iterable[Recording],
    layout: Layout,
    problem: Lift,
    network: Network,
    hop: int,
    score_threshold: float | None = None,
) -> Iterator[Recording]:
    """Yield the recordings in 3D, with the layout, upward axis and unit of the training data.

    The viewing axis of the camera is assumed to be horizontal, and a person's distance constant:
    the person moves as the root does in the image. The lowest joint of a recording is at height 0.
    A joint that is missing in a 2D frame is missing in 3D. A joint that the 2D layout does not have
    is present in each frame in which the person is seen.

    Args:
        recordings: 2D keypoints of `layout`, x to the right and y down.
        hop: frames from one window to the next. Overlapping windows are averaged; the middle of a
            window has the largest weight.
        score_threshold: joints with a score of at most this are missing; None: of at most 0.
    """
    waiting: list[Seen] = []
    for one in recordings:
        waiting.append(seen_in_2d(one, layout, problem, score_threshold))
        if sum(seen.num_windows(problem.clip_len, hop) for seen in waiting) >= AT_ONCE:
            yield from in_3d(waiting, problem, network, hop)
            waiting = []
    yield from in_3d(waiting, problem, network, hop)


@dataclass(frozen=True)
class Seen:
    """A 2D recording, mapped to the joints of the network.

    Args:
        places: (M, T, V, 2).
        there: (M, T, V) bool, whether the joint is seen and the network was trained with it.
        scores: (M, T, V); None if the recording has none.
    """

    recording: Recording
    places: np.ndarray
    there: np.ndarray
    scores: np.ndarray | None

    def num_windows(self, length: int, hop: int) -> int:
        """The largest number of windows that `windows` can return for all persons."""
        num_persons, num_frames = self.there.shape[:2]
        return num_persons * len(window_starts(num_frames, length, hop))

    def windows(self, person: int, length: int, hop: int) -> np.ndarray:
        """(W, L) frame numbers of the windows in which the person is seen."""
        num_frames = self.there.shape[1]
        indices = successive_indices(num_frames, length, window_starts(num_frames, length, hop))
        return indices[self.there[person].any(-1)[indices].any(-1)]


def seen_in_2d(
    recording: Recording, layout: Layout, problem: Lift, score_threshold: float | None
) -> Seen:
    """A recording of `layout`, mapped to the joints of the network."""
    places, scores = recording.keypoints.astype(np.float32), recording.scores
    there = visible(places, scores, score_threshold)
    confidences = None if scores is None else (scores * there).astype(np.float32)
    sources = joint_sources(layout, problem.skeleton)
    places, confidences = relaid(places * there[..., None], confidences, sources)
    return Seen(recording, places, (places != 0).any(-1) & problem.known_joints, confidences)


def in_3d(group: Sequence[Seen], problem: Lift, network: Network, hop: int) -> Iterator[Recording]:
    """Yield the recordings of a group in 3D; all their windows are one call of the network."""
    persons = [(seen, person) for seen in group for person in range(len(seen.there))]
    windows = [seen.windows(person, problem.clip_len, hop) for seen, person in persons]
    if not persons:
        return
    # Each window is normalised by itself, as a training clip is.
    keypoints = np.concatenate(
        [
            problem.keypoints(seen.places[person][indices], seen.there[person][indices])
            for (seen, person), indices in zip(persons, windows, strict=True)
        ]
    )
    outputs = network(keypoints) if len(keypoints) else keypoints
    ends = np.cumsum([len(indices) for indices in windows])[:-1]
    parts = iter(zip(windows, np.split(outputs, ends), strict=True))
    root = root_weights(problem.skeleton)
    for seen in group:
        pairs = zip(seen.places, seen.there, strict=True)
        joints = np.stack([person_in_3d(*pair, *next(parts), root) for pair in pairs])
        yield finished_recording(seen, joints, problem)


def person_in_3d(
    places: np.ndarray, seen: np.ndarray, indices: np.ndarray, joints: np.ndarray, root: np.ndarray
) -> np.ndarray:
    """(T, V, 3) joints of a person in metres to the right, down and ahead of the camera.

    Args:
        places, seen: 2D joints (T, V, 2) and whether each is seen (T, V).
        indices, joints: frames of the windows (W, L), and the network's output (W, L, V, 3).
        root: (V,) weights of the joints whose mean is the root.
    """
    if not len(indices):
        return np.zeros((*seen.shape, 3), np.float32)
    length = indices.shape[1]
    weights = 1 + np.minimum(np.arange(length), np.arange(length)[::-1])
    total, weight = np.zeros((*seen.shape, 3)), np.zeros(len(seen))
    for frames, one in zip(indices, lifting.relative(joints, root), strict=True):
        np.add.at(total, frames, weights[:, None, None] * one)
        np.add.at(weight, frames, weights)
    mean = total / np.maximum(weight, 1)[:, None, None]
    path = root_path(places, seen, root)
    mean[..., :2] += (metres_per_pixel(places - path[:, None], mean, seen) * path)[:, None]
    return mean.astype(np.float32)


def finished_recording(seen: Seen, joints: np.ndarray, problem: Lift) -> Recording:
    """The recording with 3D joints (M, T, V, 3) in camera coordinates; see `lifted_recordings`."""
    anybody = seen.there.any(-1, keepdims=True)
    found = np.where(problem.known_joints, seen.there, anybody)
    made = standing(joints, found, problem.cameras.up) / np.float32(problem.metres)
    scores = None
    if seen.scores is not None:
        count = np.maximum(seen.there.sum(-1, keepdims=True), 1)
        mean = (seen.scores * seen.there).sum(-1, keepdims=True) / count
        scores = (np.where(problem.known_joints, seen.scores, mean) * found).astype(np.float32)
    keypoints = (made * found[..., None]).astype(np.float32)
    return replace(seen.recording, keypoints=keypoints, scores=scores, image_shape=None)


def metres_per_pixel(places: np.ndarray, joints: np.ndarray, seen: np.ndarray) -> float:
    """The least-squares scale from 2D joints (T, V, 2) to x and y of 3D joints (T, V, 3)."""
    flat, solid = places[seen], joints[..., :2][seen]
    return float((flat * solid).sum() / max((flat**2).sum(), 1e-9))


def standing(joints: np.ndarray, there: np.ndarray, up: str) -> np.ndarray:
    """(M, T, V, 3) joints in camera coordinates, rotated so that the axis `up` points upwards.

    They are translated so that the lowest joint is at height 0 and their middle is on the axis.
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
