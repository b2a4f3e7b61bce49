"""Transforms of poses: normalisation, streams, and maps for augmentation.

Sizes: M persons, T frames, V joints, D coordinates. Every function returns new `Poses` and does not
change its input. `Poses` keeps missing joints at 0, so the functions here need not do so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.poses import Poses
from flag3d_exp.skeletons.layout import Layout


def normalise_image(poses: Poses, image_shape: tuple[int, int]) -> Poses:
    """2D poses from pixels to [-1, 1] of the (height, width) image."""
    height, width = image_shape
    half = np.array([width / 2, height / 2], np.float32)
    return poses.moved_poses(poses.keypoints / half - 1)


def normalise_box(poses: Poses) -> Poses:
    """2D poses to [-1, 1] of the box around the visible joints of all persons and frames."""
    seen = poses.keypoints[poses.visible]  # (n, 2)
    if not len(seen):
        return poses
    low, high = seen.min(0), seen.max(0)
    half = np.maximum((high - low) / 2, 1e-6)
    return poses.moved_poses((poses.keypoints - (low + high) / 2) / half)


def normalise_frame(poses: Poses) -> Poses:
    """2D poses, each axis to [-1, 1] of the box around a person's visible joints in that frame.

    Size, position and aspect ratio are lost. Use it to train networks for data that was published
    in this form.
    """
    hidden = ~poses.visible[..., None]
    low = np.where(hidden, np.inf, poses.keypoints).min(2, keepdims=True)  # (M, T, 1, 2)
    high = np.where(hidden, -np.inf, poses.keypoints).max(2, keepdims=True)
    empty = ~poses.visible.any(2)[..., None, None]
    low, high = np.where(empty, 0, low), np.where(empty, 0, high)
    half = np.maximum((high - low) / 2, 1e-6)
    return poses.moved_poses(((poses.keypoints - (low + high) / 2) / half).astype(np.float32))


def normalise_center(poses: Poses, center: int) -> Poses:
    """Poses translated so that joint `center` is at the origin where it is first visible.

    That is in the first such frame of the first person who has the joint. Poses without the joint
    are not moved.
    """
    for person in range(len(poses.visible)):
        frame = _first_frame(poses.visible[person], [center])
        if frame is not None:
            return poses.moved_poses(poses.keypoints - poses.keypoints[person, frame, center])
    return poses


def normalise_body(
    poses: Poses,
    spine: tuple[int, int] | None = (0, 1),
    shoulders: tuple[int, int] | None = (4, 8),
    center: int = 1,
) -> Poses:
    """3D poses in the first person's body coordinates, as in PYSKL for NTU RGB+D.

    The person who is visible in most frames becomes the first, and frames without this person are
    dropped. Then the joint `center` is moved to the origin, the line between the `spine` joints is
    rotated to z, and the line between the `shoulders` to x. Each step uses the first frame with the
    joints, and is skipped if there is none.
    """
    seen = poses.visible.any(2)  # (M, T)
    longest = int(seen.sum(1).argmax())
    order = [longest, *(person for person in range(len(seen)) if person != longest)]
    if seen.any():
        poses = poses.persons(np.array(order)).frames(seen[longest].nonzero()[0])
    keypoints, main = poses.keypoints.astype(np.float64), poses.visible[0]
    if (frame := _first_frame(main, [center])) is not None:
        keypoints = keypoints - keypoints[0, frame, center]
    for pair, axis in ((spine, (0, 0, 1)), (shoulders, (1, 0, 0))):
        if pair is not None and (frame := _first_frame(main, pair)) is not None:
            keypoints = keypoints @ _turn(keypoints[0, frame], pair, axis).T
    return poses.moved_poses(keypoints.astype(np.float32))


@dataclass(frozen=True)
class Stream:
    """The stream of a network: joints or bones, or the motion of either.

    Args:
        bones: use a joint minus its parent; the root has no bone.
        generations: where a bone begins: 1 at the parent, 2 at the grandparent. A joint without
            such an ancestor has no bone.
        motion: use the next frame minus this one; 0 in the last frame.
    """

    name: str
    bones: bool = False
    motion: bool = False
    generations: Annotated[int, ">= 1"] = 1

    def __post_init__(self) -> None:
        bounds.check(self, "stream")

    def __call__(self, poses: Poses, layout: Layout) -> Poses:
        """The stream of the poses; the score of a bone or of a motion is the mean of two scores."""
        if self.bones:
            poses = bones(poses, ancestors(layout.parents, self.generations))
        return motion(poses) if self.motion else poses


def ancestors(parents: tuple[int, ...], generations: int) -> tuple[int, ...]:
    """The ancestor of each joint that many generations above; -1 if there is none."""
    found = tuple(range(len(parents)))
    for _ in range(generations):
        found = tuple(parents[joint] if joint >= 0 else -1 for joint in found)
    return found


def bones(poses: Poses, parents: tuple[int, ...]) -> Poses:
    """Each joint minus its parent (0 if there is none, -1); missing if either joint is missing."""
    numbers = [joint if parent < 0 else parent for joint, parent in enumerate(parents)]
    starts = poses.joints(np.array(numbers))
    scores = None
    if poses.scores is not None and starts.scores is not None:
        scores = (poses.scores + starts.scores) / 2
    keypoints = poses.keypoints - starts.keypoints
    return Poses(keypoints, poses.visible & starts.visible, scores)


def motion(poses: Poses) -> Poses:
    """The next frame minus this one; missing in the last frame and if either joint is missing."""
    change = np.zeros_like(poses.keypoints)
    np.subtract(poses.keypoints[:, 1:], poses.keypoints[:, :-1], out=change[:, :-1])
    visible = np.zeros_like(poses.visible)
    np.logical_and(poses.visible[:, 1:], poses.visible[:, :-1], out=visible[:, :-1])
    scores = None
    if poses.scores is not None:
        scores = np.zeros_like(poses.scores)
        scores[:, :-1] = (poses.scores[:, 1:] + poses.scores[:, :-1]) / 2
    return Poses(change, visible, scores)


def fill_gaps(poses: Poses) -> Poses:
    """Poses (M, T, V) in which a joint that is visible in some frame is visible in all.

    Coordinates and scores are interpolated linearly, and constant before the first and after the
    last frame in which the joint is visible.
    """
    if poses.visible.all() or not poses.visible.any():
        return poses
    keypoints = poses.keypoints.copy()
    scores = None if poses.scores is None else poses.scores.copy()
    frames = np.arange(poses.visible.shape[1])
    some = poses.visible.any(1) & ~poses.visible.all(1)
    for person, joint in np.argwhere(some).tolist():
        there = poses.visible[person, :, joint]
        known = frames[there]
        for axis in range(keypoints.shape[-1]):
            values = keypoints[person, :, joint, axis]
            values[~there] = np.interp(frames[~there], known, values[there])
        if scores is not None:
            values = scores[person, :, joint]
            values[~there] = np.interp(frames[~there], known, values[there])
    visible = np.broadcast_to(poses.visible.any(1, keepdims=True), poses.visible.shape).copy()
    return Poses(keypoints, visible, scores)


def mirrored_poses(poses: Poses, mirror_order: np.ndarray) -> Poses:
    """Poses with x negated and left and right joints exchanged."""
    poses = poses.joints(mirror_order)
    signs = np.ones(poses.keypoints.shape[-1], poses.keypoints.dtype)
    signs[0] = -1
    return poses.moved_poses(poses.keypoints * signs)


def rotation(angles: np.ndarray) -> np.ndarray:
    """(3, 3) rotation by (3,) angles about x, then y, then z; (2, 2) for (1,) angle; radians."""
    sines, cosines = np.sin(angles), np.cos(angles)
    if len(angles) == 1:
        return np.array([[cosines[0], -sines[0]], [sines[0], cosines[0]]])
    matrix = np.eye(3)
    for axis, (sine, cosine) in enumerate(zip(sines, cosines, strict=True)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[first, second, first, second], [first, second, second, first]] = (
            cosine,
            cosine,
            -sine,
            sine,
        )
        matrix = turn @ matrix
    return matrix


def mapped_poses(poses: Poses, matrix: np.ndarray) -> Poses:
    """Poses with the (D, D) matrix applied to the coordinates."""
    return poses.moved_poses(poses.keypoints @ matrix.T.astype(poses.keypoints.dtype))


def without_joints(poses: Poses, dropped: np.ndarray) -> Poses:
    """Poses in which the (V,) dropped joints are missing."""
    return Poses(poses.keypoints, poses.visible & ~dropped, poses.scores)


def _first_frame(visible: np.ndarray, joints: Sequence[int]) -> int | None:
    """The first frame of (T, V) in which all these joints are visible; None if there is none."""
    there = visible[:, list(joints)].all(1)
    return int(there.argmax()) if there.any() else None


def _turn(joints: np.ndarray, pair: tuple[int, int], axis: tuple[int, int, int]) -> np.ndarray:
    """(3, 3) smallest rotation of the line between two of the (V, 3) joints to `axis`."""
    line = joints[pair[1]] - joints[pair[0]]
    length = np.linalg.norm(line)
    if length < 1e-6:
        return np.eye(3)
    line = line / length
    normal, cosine = np.cross(line, axis), np.dot(line, axis)
    sine = np.linalg.norm(normal)
    if sine < 1e-6:
        return np.eye(3)
    x, y, z = normal / sine
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + sine * cross + (1 - cosine) * cross @ cross
