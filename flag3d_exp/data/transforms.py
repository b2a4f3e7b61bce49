"""Array functions on keypoints: normalisation, streams, persons, and changes for training.

Sizes: M persons, T frames, V joints, C channels. Keypoints are (M, T, V, C); the functions return
new arrays and leave their arguments alone. The channels are x, y, z in 3D and x, y, score in 2D.
"""

from dataclasses import dataclass

import numpy as np

from flag3d_exp.skeletons.layout import Layout


def normalise_image(
    keypoints: np.ndarray,
    scores: np.ndarray | None,
    image_shape: tuple[int, int],
    threshold: float | None = 0.01,
) -> np.ndarray:
    """(M, T, V, 2) pixels to [-1, 1] of the (height, width) image.

    Args:
        scores: (M, T, V); joints whose score is at most `threshold` are set to 0.
    """
    height, width = image_shape
    half = np.array([width / 2, height / 2], np.float32)
    placed = keypoints.astype(np.float32) / half - 1
    return placed if threshold is None else _masked(placed, scores, threshold)


def normalise_box(
    keypoints: np.ndarray, scores: np.ndarray | None, threshold: float | None = 0.01
) -> np.ndarray:
    """(M, T, V, 2) to [-1, 1] of the box around all persons and frames.

    Args:
        scores: (M, T, V); joints whose score is at most `threshold` do not count, and are set to 0.
    """
    keypoints = keypoints.astype(np.float32)
    seen = np.ones(keypoints.shape[:3], bool)
    if scores is not None and threshold is not None:
        seen = np.asarray(scores > threshold)
    if not seen.any():
        return np.zeros_like(keypoints)
    low, high = keypoints[seen].min(0), keypoints[seen].max(0)
    half = np.maximum((high - low) / 2, 1e-6)
    return _masked((keypoints - (low + high) / 2) / half, scores, threshold or 0)


def normalise_center(keypoints: np.ndarray, center: int) -> np.ndarray:
    """(M, T, V, C) moved so that the first person's joint `center` starts at the origin."""
    keypoints = keypoints.astype(np.float32)
    return keypoints - keypoints[0, 0, center]


def normalise_body(
    keypoints: np.ndarray,
    spine: tuple[int, int] | None = (0, 1),
    shoulders: tuple[int, int] | None = (4, 8),
    center: int = 1,
) -> np.ndarray:
    """(M, T', V, 3) in the frame of the first person's body: as PYSKL does for NTU RGB+D.

    Frames without the person seen longest are dropped, and that person comes first; the origin is
    the joint `center` in the first frame left, the line between the `spine` joints points to z,
    that between the `shoulders` to x. Joints at exactly 0 are missing and stay there.
    """
    keypoints = keypoints.astype(np.float64)
    seen = keypoints.any((2, 3))  # (M, T)
    if not seen.any():
        return keypoints.astype(np.float32)
    longest = int(seen.sum(1).argmax())
    order = [longest, *(person for person in range(len(keypoints)) if person != longest)]
    keypoints = keypoints[order][:, seen[longest]]
    present = keypoints.any(-1, keepdims=True)
    keypoints = (keypoints - keypoints[0, 0, center]) * present
    if spine is not None:
        keypoints = keypoints @ _turn(keypoints[0, 0], spine, (0, 0, 1)).T
    if shoulders is not None:
        keypoints = keypoints @ _turn(keypoints[0, 0], shoulders, (1, 0, 0)).T
    return keypoints.astype(np.float32)


def with_scores(keypoints: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
    """(M, T, V, C + 1) float32: the score as last channel, 1 where there is none."""
    if scores is None:
        scores = np.ones(keypoints.shape[:-1], np.float32)
    return np.concatenate([keypoints, scores[..., None]], -1, dtype=np.float32)


@dataclass(frozen=True)
class Stream:
    """What the channels of a joint mean: its place or its bone, and the motion of either.

    Args:
        bones: a joint minus its parent; the root has none.
        motion: the next frame minus this one; 0 in the last.
    """

    name: str
    bones: bool = False
    motion: bool = False

    def __call__(self, keypoints: np.ndarray, layout: Layout, scored: bool) -> np.ndarray:
        """(M, T, V, C) to the same shape.

        Args:
            scored: the last channel is a score: that of a bone or of a motion is a mean of two.
        """
        if self.bones:
            keypoints = bones(keypoints, layout.parents, scored)
        return motion(keypoints, scored) if self.motion else keypoints


def bones(keypoints: np.ndarray, parents: tuple[int, ...], scored: bool = False) -> np.ndarray:
    """(M, T, V, C): each joint minus its parent (-1: none, so 0)."""
    starts = np.array([joint if parent < 0 else parent for joint, parent in enumerate(parents)])
    vectors = keypoints - keypoints[:, :, starts]
    if scored:
        vectors[..., -1] = (keypoints[..., -1] + keypoints[:, :, starts, -1]) / 2
    return vectors


def motion(keypoints: np.ndarray, scored: bool = False) -> np.ndarray:
    """(M, T, V, C): the next frame minus this one; 0 in the last frame."""
    change = np.zeros_like(keypoints)
    np.subtract(keypoints[:, 1:], keypoints[:, :-1], out=change[:, :-1])
    if scored:
        change[:, :-1, :, -1] = (keypoints[:, 1:, :, -1] + keypoints[:, :-1, :, -1]) / 2
    return change


def with_persons(keypoints: np.ndarray, num_persons: int) -> np.ndarray:
    """(num_persons, ...): the first persons, or zeros after the last."""
    missing = num_persons - len(keypoints)
    if missing <= 0:
        return keypoints[:num_persons]
    return np.concatenate([keypoints, np.zeros((missing, *keypoints.shape[1:]), keypoints.dtype)])


def mirrored(keypoints: np.ndarray, mirror_order: np.ndarray) -> np.ndarray:
    """(..., V, C) with x turned round and left and right joints exchanged."""
    mirrored = keypoints[..., mirror_order, :]
    mirrored[..., 0] *= -1
    return mirrored


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
            *(cosine, cosine),
            *(-sine, sine),
        )
        matrix = turn @ matrix
    return matrix


def mapped(keypoints: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(..., V, C) with the (D, D) matrix applied to the first D channels."""
    size = len(matrix)
    changed = keypoints.copy()
    changed[..., :size] = keypoints[..., :size] @ matrix.T.astype(keypoints.dtype)
    return changed


def without_joints(keypoints: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """(..., V, C) with the (V,) dropped joints at 0."""
    return keypoints * ~dropped[:, None]


def _masked(keypoints: np.ndarray, scores: np.ndarray | None, threshold: float) -> np.ndarray:
    return keypoints if scores is None else keypoints * (scores > threshold)[..., None]


def _turn(joints: np.ndarray, pair: tuple[int, int], axis: tuple[int, int, int]) -> np.ndarray:
    """(3, 3) smallest rotation that turns the line between two of the (V, 3) joints to `axis`."""
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
