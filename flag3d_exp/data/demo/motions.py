"""Fitness motions as joint angles over a repetition: the actions of the synthetic demo data.

A motion is a function of the phase (F,) in radians, one repetition per 2 pi, and of the range (how
far a person goes: 1 is the full motion). It returns the angles that differ from upright stance, by
the names of `body.ANGLES`, and `hop` (metres) where the body leaves the ground.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Angles = dict[str, np.ndarray | float]
Motion = Callable[[np.ndarray, np.ndarray], Angles]

FEET = (14, 15, 18, 19)
WRISTS = (6, 10)
TOES = (15, 19)


@dataclass(frozen=True)
class Action:
    """One class: FLAG3D's number and name, and how the body moves and rests.

    Attributes:
        support, level, flat_feet, across, facing, foremost: see `poses.Posture`.
        rest: (S, 3) where the support is at rest, see `body.plant`; None: what bears the weight
            is always in the middle, see `body.stand`.
    """

    number: int
    name: str
    motion: Motion
    seconds: float
    support: tuple[int, ...] = FEET
    level: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    flat_feet: float = 1.0
    across: bool = False
    facing: float = 0.0
    foremost: bool = False
    rest: np.ndarray | None = None


def _squat_with_arm_lift(phase: np.ndarray, reach: np.ndarray) -> Angles:
    depth = reach * _there_and_back(phase)
    return _squat(depth) | _arms(arm=10 + 150 * depth, arm_plane=80, elbow=8)


def _squat_jump(phase: np.ndarray, reach: np.ndarray) -> Angles:
    # Down and up in the first 70 % of a repetition, in the air in the rest.
    part = (phase / (2 * np.pi)) % 1
    depth = 0.85 * reach * np.where(part < 0.7, np.sin(np.pi * part / 0.7) ** 2, 0)
    air = np.where(part >= 0.7, np.sin(np.pi * (part - 0.7) / 0.3), 0)
    swing = 50 * depth - 35 * air
    return _squat(depth) | _arms(arm=swing, arm_plane=90, elbow=40) | {"hop": 0.25 * reach * air}


def _sumo_squat(phase: np.ndarray, reach: np.ndarray) -> Angles:
    depth = reach * _there_and_back(phase)
    legs = _legs(leg=24 + 62 * depth, leg_plane=5 + 35 * depth, knee=4 + 82 * depth)
    hands = _arms(arm=35 + 25 * depth, arm_plane=80, arm_twist=45, elbow=90)
    return legs | hands | {"pitch": 14 * depth}


def _reverse_lunge(phase: np.ndarray, reach: np.ndarray) -> Angles:
    depth = reach * _there_and_back(phase)
    step = np.sin(phase / 2) ** 2 * np.cos(phase / 2) ** 2 * 4  # the foot is lifted on its way
    return {
        "left_leg": 82 * depth,
        "left_leg_plane": 88.0,
        "left_knee": 88 * depth,
        "right_leg": -22 * depth + 8 * step,
        "right_leg_plane": 88.0,
        "right_knee": 72 * depth + 35 * step,
        "pitch": 9 * depth,
    } | _hands_on_hips()


def _push_ups(phase: np.ndarray, reach: np.ndarray) -> Angles:
    depth = reach * _there_and_back(phase)
    arms = _arms(arm=88 - 76 * depth, arm_plane=88 - 25 * depth, elbow=4 + 92 * depth, wrist=80)
    return arms | _legs(leg=4, leg_plane=90, knee=2) | {"nod": -12.0}


def _kneeling_leg_stretch(phase: np.ndarray, reach: np.ndarray) -> Angles:
    back = reach * _there_and_back(phase)
    return {
        "left_leg": 85.0,
        "left_leg_plane": 90.0,
        "left_knee": 97.0,
        "right_leg": 94 - 100 * back,
        "right_leg_plane": 90.0,
        "right_knee": 100 - 95 * back,
        "nod": -20 * back,
        "left_ankle": 60.0,
        "right_ankle": 60.0,
    } | _arms(arm=88, arm_plane=88, elbow=5, wrist=80)


def _sit_ups(phase: np.ndarray, reach: np.ndarray) -> Angles:
    rise = reach * _there_and_back(phase)
    legs = _legs(leg=50 + 42 * rise, leg_plane=88, knee=92)
    hands_at_ears = _arms(arm=100, arm_plane=20, arm_twist=-70, elbow=138)
    return legs | hands_at_ears | {"bend": 4 + 42 * rise}


def _torso_rotation(phase: np.ndarray, reach: np.ndarray) -> Angles:
    turn = np.sin(phase)
    lean = 70 * reach
    spread = _arms(arm=85, arm_plane=5, elbow=5)
    return (
        spread | _legs(leg=lean + 12, leg_plane=78, knee=12) | {"pitch": lean, "twist": 62 * turn}
    )


def _forward_circles(phase: np.ndarray, reach: np.ndarray) -> Angles:
    """Arms stretched sideways; the hands go up, forward, down, backward."""
    size = 22 * reach
    return _arms(arm=88 + size * np.sin(phase), arm_plane=-size * np.cos(phase), elbow=5)


def _backward_circles(phase: np.ndarray, reach: np.ndarray) -> Angles:
    return _forward_circles(-phase, reach)


def _lateral_raise(phase: np.ndarray, reach: np.ndarray) -> Angles:
    return _arms(arm=6 + 166 * reach * _there_and_back(phase), arm_plane=8, elbow=10)


def _curls(phase: np.ndarray, reach: np.ndarray) -> Angles:
    curl = reach * _there_and_back(phase)
    return _arms(arm=4 + 14 * curl, arm_plane=80, elbow=10 + 125 * curl)


def _alternate_curls(phase: np.ndarray, reach: np.ndarray) -> Angles:
    left, right = _in_turn(phase)
    return {
        "left_arm": 4 + 14 * reach * left,
        "left_arm_plane": 80.0,
        "left_elbow": 10 + 125 * reach * left,
        "right_arm": 4 + 14 * reach * right,
        "right_arm_plane": 80.0,
        "right_elbow": 10 + 125 * reach * right,
    }


def _nod(phase: np.ndarray, reach: np.ndarray) -> Angles:
    tilt = 5 + 42 * reach * np.sin(phase)
    return {"nod": tilt, "bend": 0.08 * tilt} | _hands_on_hips()


def _jumping_jacks(phase: np.ndarray, reach: np.ndarray) -> Angles:
    spread = reach * _there_and_back(phase)
    arms = _arms(arm=8 + 160 * spread, arm_plane=6, elbow=12)
    legs = _legs(leg=2 + 26 * spread, leg_plane=4, knee=5)
    return arms | legs | {"hop": 0.10 * reach * np.sin(phase) ** 2}


def _high_knee(phase: np.ndarray, reach: np.ndarray) -> Angles:
    left, right = _in_turn(phase)
    return {
        "left_leg": 98 * reach * left,
        "left_leg_plane": 86.0,
        "left_knee": 8 + 95 * left,
        "right_leg": 98 * reach * right,
        "right_leg_plane": 86.0,
        "right_knee": 8 + 95 * right,
        "left_arm": 45 * (right - left),
        "left_arm_plane": 88.0,
        "left_elbow": 85.0,
        "right_arm": 45 * (left - right),
        "right_arm_plane": 88.0,
        "right_elbow": 85.0,
        "hop": 0.05 * np.sin(phase) ** 2,
    }


ACTIONS = (
    Action(6, "Push-ups", _push_ups, 1.8, (*WRISTS, *TOES), (WRISTS, TOES), 0.0),
    Action(10, "Squat With Arm Lift", _squat_with_arm_lift, 2.4),
    Action(13, "Lateral Raise Forward Circles", _forward_circles, 1.3),
    Action(14, "Lateral Raise Backward Circles", _backward_circles, 1.3),
    Action(17, "Bare-handed Full Lateral Raise", _lateral_raise, 2.2),
    Action(20, "Dumbbell Curls", _curls, 1.8),
    Action(21, "Alternate Dumbbell Curls", _alternate_curls, 2.8),
    Action(26, "Nod And Raise Head", _nod, 2.2),
    Action(
        *(34, "Kneeling Right Leg Backward Stretch", _kneeling_leg_stretch, 2.2),
        *((*WRISTS, 13, 14), (WRISTS, (14,)), 0.0),
    ),
    Action(38, "Bent-over Torso Rotation", _torso_rotation, 2.2),
    Action(42, "Sit-ups", _sit_ups, 2.4, (0, 14, 18), ((14, 18), (0,)), 0.0),
    Action(44, "Right Leg Reverse Lunge", _reverse_lunge, 2.4),
    Action(49, "Sumo Squat", _sumo_squat, 2.2),
    Action(51, "Squat Jump", _squat_jump, 1.9),
    Action(57, "Jumping Jacks", _jumping_jacks, 1.0),
    Action(58, "High Knee", _high_knee, 0.9),
)


def _there_and_back(phase: np.ndarray) -> np.ndarray:
    """0 at the start of a repetition, 1 in its middle, 0 at its end."""
    return (1 - np.cos(phase)) / 2


def _in_turn(phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First left, then right, each 0 to 1 to 0 in half a repetition."""
    wave = np.sin(phase)
    return np.maximum(wave, 0), np.maximum(-wave, 0)


def _squat(depth: np.ndarray) -> Angles:
    return _legs(leg=3 + 112 * depth, leg_plane=82, knee=4 + 108 * depth) | {"pitch": 30 * depth}


def _hands_on_hips() -> Angles:
    return _arms(arm=44, arm_plane=0, arm_twist=80, elbow=78)


def _arms(**angles: np.ndarray | float) -> Angles:
    return {f"{side}_{name}": angle for name, angle in angles.items() for side in ("left", "right")}


_legs = _arms
