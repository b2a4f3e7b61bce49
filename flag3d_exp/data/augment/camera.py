"""Virtual cameras: project 3D joints in metres to pixels of another layout.

The result looks like the output of a pose estimator. From OrientationAware-HAR (ICPR 2026), where
training on many views improved cross-view recognition. Joints of the face, which motion capture
lacks, are put at average positions. Occlusion is not modelled; `noise` adds an estimator's errors.

Sizes: M persons, T frames, V joints, W joints of the target.
"""

import zlib
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Annotated, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.clip import Clip
from flag3d_exp.data.poses import Poses, poses_of
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import Layout, load_layout
from flag3d_exp.skeletons.mapping import joint_sources

SENSOR = 36.0  # sensor width, millimetres
NEAREST = 0.3  # metres in front of the camera; nearer points are moved to this depth
UPWARD = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}  # order of axes, upwards last
# Offsets of the face's joints from the middle of the shoulders (left, ahead, up), in units of the
# distance from there to the head.
FACE = {
    "nose": (0.0, 0.52, 0.76),
    "left eye": (0.12, 0.44, 0.92),
    "right eye": (-0.12, 0.44, 0.92),
    "left ear": (0.30, 0.04, 0.80),
    "right ear": (-0.30, 0.04, 0.80),
}
TEST_SEED = 0


@dataclass(frozen=True)
class VirtualCameras:
    """Project each training clip with its own random camera, and a test recording with a fixed one.

    2D recordings are not changed.

    Args:
        recorded: layout of the 3D joints; None if all recordings are 2D.
        layout: layout of the projected joints.
        up: the upward axis of the recordings.
        image_shape: height and width in pixels.
        focal: range of the focal length, millimetres on a sensor 36 mm wide.
        distance: range of the distance from the middle of the movement, metres.
        height: range of the height above the lowest joint, metres.
        azimuth: range of the direction from which the camera looks, degrees.
        roll: largest rotation of the camera about its optical axis, degrees.
        hidden: names of joints that the simulated estimators do not report.
        key: the name of these settings in error messages.
    """

    recorded: str | None
    layout: str
    up: Literal["x", "y", "z"] = "z"
    image_shape: tuple[int, int] = (480, 854)
    focal: tuple[float, float] = (28.0, 60.0)
    distance: tuple[float, float] = (3.5, 7.5)
    height: tuple[float, float] = (0.5, 2.5)
    azimuth: tuple[float, float] = (0.0, 360.0)
    roll: Annotated[float, ">= 0, <= 180"] = 5.0
    hidden: list[str] = field(default_factory=list)
    key: str = "augment.camera"

    stage = "recording"
    dimensions = 3

    def __post_init__(self) -> None:
        bounds.check(self, self.key)
        for name in ("focal", "distance", "height"):
            bounds.check_rising(f"{self.key}.{name}", getattr(self, name), 0)
        bounds.check_rising(f"{self.key}.azimuth", self.azimuth)
        seen = load_layout(self.layout, f"{self.key}.layout")
        for joint in self.hidden:
            if seen.joint_number(joint) is None:
                raise UserError(
                    f"`{self.key}.hidden` names {joint!r}, which is not a joint of {seen.name}."
                )

    @cached_property
    def skeleton(self) -> Layout:
        """The layout of the 3D joints."""
        return load_layout(str(self.recorded), f"{self.key}.recorded")

    @cached_property
    def projected_layout(self) -> Layout:
        """The layout of the projected joints."""
        return load_layout(self.layout)

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip in pixels; every visible joint has score 1."""
        if self.recorded is None or clip.poses.keypoints.shape[-1] == 2:
            return clip
        seen = self.projected_layout
        poses = relaid(clip.poses, self.skeleton, seen)
        keypoints = self.pixels(poses, rng)
        visible = poses.visible.copy()
        visible[..., [seen.joint_number(joint) for joint in self.hidden]] = False
        scores = visible.astype(np.float32)
        return replace(
            clip,
            poses=Poses(keypoints, visible, scores),
            layout=seen,
            image_shape=(self.image_shape[0], self.image_shape[1]),
        )

    def filmed_recording(self, recording: Recording) -> Recording:
        """The recording projected with its own camera, which is seeded by its name."""
        if self.recorded is None or recording.keypoints.shape[-1] == 2:
            return recording
        rng = np.random.default_rng((TEST_SEED, zlib.crc32(recording.name.encode())))
        clip = self(Clip(poses_of(recording), self.skeleton), rng)
        return replace(
            recording,
            keypoints=clip.poses.keypoints,
            scores=clip.poses.scores,
            image_shape=clip.image_shape,
        )

    def pixels(self, poses: Poses, rng: np.random.Generator) -> np.ndarray:
        """(M, T, V, 2) float32 of 3D poses, x to the right and y down."""
        points = poses.keypoints[..., UPWARD[self.up]]
        if not poses.visible.any():
            return np.zeros((*points.shape[:-1], 2), np.float32)
        return self.view(points[poses.visible], rng).pixels(points)

    def view(self, points: np.ndarray, rng: np.random.Generator) -> "View":
        """A random camera that looks at the middle of some points (n, 3), z upwards."""
        low, high = points.min(0), points.max(0)
        target = (low + high) / 2
        azimuth = np.radians(rng.uniform(*self.azimuth))
        distance, height = rng.uniform(*self.distance), rng.uniform(*self.height)
        place = target + distance * np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        place[2] = low[2] + height
        axes = looking(place, target, np.radians(rng.uniform(-self.roll, self.roll)))
        focal = np.float32(rng.uniform(*self.focal) / SENSOR * self.image_shape[1])
        shape = (self.image_shape[0], self.image_shape[1])
        return View(place.astype(np.float32), axes.astype(np.float32), focal, shape)


@dataclass(frozen=True)
class View:
    """A camera.

    Args:
        place: (3,) float32 position, metres.
        axes: (3, 3) float32, rows: right, down and ahead.
        focal: focal length in pixels.
        image_shape: height and width in pixels.
    """

    place: np.ndarray
    axes: np.ndarray
    focal: np.float32
    image_shape: tuple[int, int]

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) as metres to the right, down and ahead of the camera."""
        return (points - self.place) @ self.axes.T

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) float32 of points (..., 3), x to the right and y down."""
        seen = self.coordinates(points)
        depth = np.maximum(seen[..., 2:], NEAREST)
        rows, columns = self.image_shape
        return self.focal * seen[..., :2] / depth + np.array([columns / 2, rows / 2], np.float32)


def looking(place: np.ndarray, target: np.ndarray, roll: float) -> np.ndarray:
    """(3, 3) axes (rows: right, down, ahead) of a camera at `place` that looks at `target`."""
    ahead = (target - place) / max(np.linalg.norm(target - place), 1e-9)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= max(np.linalg.norm(right), 1e-9)
    down = np.cross(ahead, right)
    turned = np.cos(roll) * right + np.sin(roll) * down
    return np.stack([turned, np.cross(ahead, turned), ahead])


def relaid(poses: Poses, source: Layout, target: Layout) -> Poses:
    """3D poses (M, T, V) converted to the joints of another layout (M, T, W).

    A joint that is the mean of several is visible if all of them are visible.
    """
    weights = mean_weights(source, target)
    keypoints = weights @ poses.keypoints  # (M, T, W, 3)
    needed = (weights > 0).astype(np.float32)
    found = poses.visible.astype(np.float32) @ needed.T == needed.sum(1)
    visible = found & (needed.sum(1) > 0)
    with_face(poses, source, target, keypoints, visible)
    return Poses(keypoints, visible)


@cache
def mean_weights(source: Layout, target: Layout) -> np.ndarray:
    """(W, V) weights of the source's joints in each joint of the target."""
    weights = np.zeros((target.num_joints, source.num_joints), np.float32)
    for joint, numbers in enumerate(joint_sources(source, target)):
        weights[joint, list(numbers)] = 1 / max(len(numbers), 1)
    return weights


def with_face(
    poses: Poses, source: Layout, target: Layout, keypoints: np.ndarray, visible: np.ndarray
) -> None:
    """Add the joints of the face that the source lacks to `keypoints` and `visible`."""
    names = ("head", "left shoulder", "right shoulder")
    known = [source.joint_number(name) for name in names]
    numbers = [number for number in known if number is not None]
    wanted = {name: target.joint_number(name) for name in FACE}
    if len(numbers) < len(names):
        return
    head, left, right = (poses.keypoints[..., number, :] for number in numbers)
    there = poses.visible[..., numbers].all(-1)
    base = (left + right) / 2
    up = head - base
    size = np.linalg.norm(up, axis=-1, keepdims=True)
    up = up / np.maximum(size, 1e-6)
    side = left - right
    side = side - (side * up).sum(-1, keepdims=True) * up
    side = side / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-6)
    ahead = np.cross(side, up)
    for name, (to_left, forward, above) in FACE.items():
        joint = wanted[name]
        if joint is None or source.joint_number(name) is not None:
            continue
        keypoints[..., joint, :] = base + size * (to_left * side + forward * ahead + above * up)
        visible[..., joint] = there
