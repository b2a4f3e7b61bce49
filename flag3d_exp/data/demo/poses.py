"""Poses and what is made of them: postures, mirror images, and motions through key poses.

A pose is the angles that differ from those of the posture it is taken in, by the names of
`body.ANGLES` and `body.RARE_ANGLES`; `hop` and `slide` are metres above the ground and to the
right. Sizes: F frames, K key poses, A angles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flag3d_exp.data.demo import body
from flag3d_exp.data.demo.motions import FEET, Angles, Motion

Pose = dict[str, float]
REST: Pose = {}
# A mirror changes their signs; others go over to the other limb.
REFLECTED = ("roll", "side", "twist", "turn", "tilt", "slide")


@dataclass(frozen=True)
class Posture:
    """How a body rests, upright or on the floor.

    Args:
        angles: the pose that motions start from and are as wide as a person's range about.
        support: points that may carry the body, of which the lowest does not move.
        level: front and rear points (with `across`: right and left ones) that are equally high.
        across: whether the body lies on its side.
        flat_feet: 1 where feet stay flat on the ground, 0 where they follow the shank.
        facing: degrees that the body is turned to its left, as to show the camera its side.
        foremost: whether the foremost of the support does not move, as in lunges.
    """

    angles: Pose
    support: tuple[int, ...] = FEET
    level: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    across: bool = False
    flat_feet: float = 1.0
    facing: float = 0.0
    foremost: bool = False

    def __or__(self, pose: Pose) -> "Posture":
        """The posture with some angles replaced."""
        return replace(self, angles=self.angles | pose)

    def borne_by(self, front: tuple[int, ...], rear: tuple[int, ...]) -> "Posture":
        """The posture on other points, all equally high."""
        return replace(self, support=(*front, *rear), level=(front, rear))

    def points(self) -> np.ndarray:
        """The points (30, 3) of a body of mean size in this posture, the pelvis at the origin."""
        angles = {name: np.array([self.angles.get(name, 0.0)]) for name in body.ANGLES}
        points = body.pose_body(angles, body.Bones(), np.array([self.flat_feet]))
        if self.level:
            points = (body.level_across if self.across else body.level)(points, *self.level)
        return points[0]


def both(**angles: float) -> Pose:
    """Angles of limbs, the same on the left and on the right."""
    return left(**angles) | right(**angles)


def left(**angles: float) -> Pose:
    """Angles of limbs on the left."""
    return {f"left_{name}": angle for name, angle in angles.items()}


def right(**angles: float) -> Pose:
    """Angles of limbs on the right."""
    return {f"right_{name}": angle for name, angle in angles.items()}


def mirrored_pose(pose: Pose) -> Pose:
    """The pose with left and right exchanged."""
    found = {}
    for name, angle in pose.items():
        side, _, rest = name.partition("_")
        other = {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)
        found[other] = -angle if name in REFLECTED else angle
    return found


def in_turn(*poses: Pose) -> tuple[Pose, ...]:
    """The poses, then their mirror images."""
    return *poses, *map(mirrored_pose, poses)


def through(posture: Posture, poses: Sequence[Pose]) -> Motion:
    """The motion that passes through poses, once in each repetition.

    Between them angles follow monotone cubics (Fritsch and Butland, 1984), so that a limb that
    turns back is at rest there, and no joint bends further than in the poses.

    Args:
        posture: where the body is, and what a person's range is about: with half of it, angles
            are half as far from those of the posture.
        poses: at least two, at equal steps of time, the first at the start of a repetition.
    """
    whole = [posture.angles | pose for pose in poses]
    names = list(dict.fromkeys(name for pose in whole for name in pose))
    base = np.array([posture.angles.get(name, 0.0) for name in names], float)  # (A,)
    values = np.array([[pose.get(name, 0.0) for name in names] for pose in whole], float)  # (K, A)
    slopes = _slopes(values)
    next_values, next_slopes = np.roll(values, -1, axis=0), np.roll(slopes, -1, axis=0)

    def motion(phase: np.ndarray, reach: np.ndarray) -> Angles:
        place = phase / (2 * np.pi) * len(poses)
        before = np.floor(place)
        t = (place - before)[:, None]  # (F, 1)
        key = before.astype(int) % len(poses)
        rest = 1 - t
        curve = rest * rest * ((1 + 2 * t) * values[key] + t * slopes[key]) + t * t * (
            (1 + 2 * rest) * next_values[key] - rest * next_slopes[key]
        )  # (F, A)
        angles = base + reach[:, None] * (curve - base)
        return dict(zip(names, angles.T, strict=True))

    return motion


def _slopes(values: np.ndarray) -> np.ndarray:
    """The change a step (K, A) at each key: 0 where a value turns back, else a harmonic mean."""
    ahead = np.roll(values, -1, axis=0) - values
    behind = np.roll(ahead, 1, axis=0)
    onward = behind * ahead > 0
    return np.where(onward, 2 * behind * ahead / np.where(onward, behind + ahead, 1), 0)
