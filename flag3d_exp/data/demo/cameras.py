"""Virtual cameras and pose detectors: points in metres in, COCO-17 pixels and scores out."""

from dataclasses import dataclass

import numpy as np

IMAGE_SHAPE = (480, 854)
# nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles among the body's points.
COCO_POINTS = (25, 26, 27, 28, 29, 4, 8, 5, 9, 6, 10, 12, 16, 13, 17, 14, 18)
COCO_PAIRS = tuple((left, left + 1) for left in range(1, 17, 2))


@dataclass(frozen=True)
class Camera:
    """Where a camera stands, and how well the detector behind it works.

    Attributes:
        azimuth: degrees to the left of the person's front.
        height: metres above the ground.
        distance: metres from the person.
        focal: focal length in pixels.
        jitter: standard deviation of detected joints in pixels.
        loss: share of time in which a joint is lost.
        exchange: share of time in which left and right are exchanged.
        wander: standard deviation in degrees and decimetres of how its place varies between takes.
    """

    azimuth: float
    height: float
    distance: float
    focal: float
    jitter: float
    loss: float
    exchange: float
    wander: float


RENDERED = {
    1: Camera(0, 1.3, 4.2, 700, jitter=1.0, loss=0.0, exchange=0.0, wander=2),
    2: Camera(-45, 1.5, 4.4, 700, jitter=1.0, loss=0.0, exchange=0.0, wander=2),
    6: Camera(45, 1.5, 4.4, 700, jitter=1.0, loss=0.0, exchange=0.0, wander=2),
}
FILMED = {
    11: Camera(15, 1.1, 3.8, 660, jitter=3.0, loss=0.03, exchange=0.01, wander=5),
    12: Camera(62, 1.0, 4.0, 680, jitter=3.5, loss=0.04, exchange=0.02, wander=7),
}
CAMERAS = RENDERED | FILMED


def film(
    points: np.ndarray, camera: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """COCO keypoints (F, 17, 2) in pixels and their scores (F, 17), from points (F, 30, 3)."""
    settings = CAMERAS[camera]
    keypoints = project(points[:, COCO_POINTS], settings, rng)
    return _detect(keypoints, settings, rng)


def project(points: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Pixels (F, V, 2), x to the right and y down, of points (F, V, 3) around the origin."""
    azimuth = np.radians(90 + camera.azimuth + rng.normal(0, camera.wander))
    place = np.array([np.cos(azimuth), np.sin(azimuth), 0.0]) * camera.distance
    place *= 1 + rng.normal(0, camera.wander / 100)
    place[2] = camera.height + rng.normal(0, camera.wander / 50)
    # The camera is aimed at the middle of what it will see.
    target = (points.reshape(-1, 3).min(axis=0) + points.reshape(-1, 3).max(axis=0)) / 2
    ahead = target - place
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(ahead, right)
    seen = (points - place) @ np.stack([right, down, ahead], axis=1)  # (F, V, 3)
    height, width = IMAGE_SHAPE
    return camera.focal * seen[..., :2] / seen[..., 2:] + np.array([width / 2, height / 2])


def _detect(
    keypoints: np.ndarray, camera: Camera, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What a detector reports: joints that jitter, change sides, or are lost (place 0, score 0)."""
    num_frames, num_joints, _ = keypoints.shape
    error = rng.normal(0, camera.jitter, keypoints.shape)
    error[1:] = 0.6 * error[:-1] + 0.8 * error[1:]
    found = keypoints + error
    exchanged = _spells(num_frames, 1, camera.exchange, rng)[:, 0]
    for left, right in COCO_PAIRS:
        found[exchanged, left], found[exchanged, right] = (
            found[exchanged, right],
            found[exchanged, left],
        )
    distance = np.linalg.norm(found - keypoints, axis=-1)
    scores = np.exp(-distance / 40) * rng.uniform(0.85, 0.98, (num_frames, num_joints))
    lost = _spells(num_frames, num_joints, camera.loss, rng)
    found[lost], scores[lost] = 0.0, 0.0
    return found, scores


def _spells(num_frames: int, channels: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """(F, channels) true in spells of eight frames that fill this share of the time."""
    length = 8
    begins = rng.random((num_frames + length, channels)) < share / length
    total = np.cumsum(begins, axis=0)
    return total[length:] > total[:-length]
