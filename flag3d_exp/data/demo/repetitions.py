"""Synthetic recordings whose repetitions are known, to learn to count.

A person repeats one movement several times, in one or two sets, and does something else before,
between and after. Half of the movements are FLAG3D's 60 actions; the others are random: a posture,
and one to three random poses to which arms, legs and trunk go and return. Lengths of repetitions
vary between recordings by a factor of ten. Nothing in it was recorded from a person.

Sizes: F frames, R repetitions, A angles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flag3d_exp.data.demo import body, performers, postures
from flag3d_exp.data.demo.actions import ACTIONS
from flag3d_exp.data.demo.motions import Action
from flag3d_exp.data.demo.poses import (
    REST,
    Pose,
    Posture,
    both,
    left,
    mirrored_pose,
    right,
    through,
)

SEED = 20250117
RECORDINGS = {"train": 600, "val": 100}
FRAMES = (200, 640)  # of a recording
LENGTH = (12, 150)  # frames of a repetition
IDLE, WANDERING = 3.0, 22.0  # degrees that postures vary by, at rest and while doing other things
BLEND = 9  # frames from a repetition to something else
POSTURES = (
    *(postures.STAND, postures.STAND, postures.STAND, postures.ON_TOES, postures.HINGE),
    *(postures.PLANK, postures.KNEELING_PLANK, postures.ALL_FOURS, postures.SIT),
    *(postures.SUPINE, postures.SUPINE_BENT, postures.PRONE, postures.ON_RIGHT_SIDE),
)
ARMS = {"arm": (0, 175), "arm_plane": (-20, 100), "arm_twist": (-80, 80), "elbow": (0, 140)}
LEGS = {"leg": (-25, 115), "leg_plane": (0, 95), "knee": (0, 115), "ankle": (-20, 50)}
TRUNK = {"pitch": 40, "roll": 15, "bend": 45, "side": 30, "twist": 50, "nod": 35, "turn": 50}


@dataclass(frozen=True)
class Set:
    """Repetitions in a row: their lengths in frames, after `pause` frames of something else."""

    pause: int
    lengths: Sequence[int]


def make_repetitions() -> dict:
    """The recordings in PYSKL's form, 3D joints in metres (z up), with `repetitions` (R, 2)."""
    split: dict[str, list[str]] = {}
    annotations = []
    for stage, (name, number) in enumerate(RECORDINGS.items()):
        split[name] = [f"{name}_{one:04}" for one in range(number)]
        for one, recording in enumerate(split[name]):
            rng = np.random.default_rng((SEED, stage, one))
            joints, spans = performed_recording(rng)
            annotations.append(
                {
                    "frame_dir": recording,
                    "label": 0,
                    "total_frames": len(joints),
                    "keypoint": joints[None].astype(np.float16),
                    "repetitions": spans,
                }
            )
    return {"split": split, "annotations": annotations}


def performed_recording(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Joints (F, 25, 3) of a recording, and its repetitions (R, 2)."""
    action = ACTIONS[rng.integers(len(ACTIONS))] if rng.random() < 0.5 else random_action(rng)
    sets, rest = planned_sets(rng)
    num_frames = rest + sum(one.pause + sum(one.lengths) for one in sets)
    phase, reach, busy, spans = course(sets, num_frames, rng)
    wander = WANDERING * rng.uniform(0.3, 1.3) if rng.random() < 0.6 else IDLE
    sway = smooth(busy, BLEND) * IDLE + (1 - smooth(busy, BLEND)) * wander
    posture = performers.LOOSENESS * (
        rng.normal(0, 6.0, len(body.ANGLES))
        + sway[:, None] * performers.drift(rng, (num_frames, len(body.ANGLES)), 1.0)
    )
    heading = rng.uniform(0, 25) * performers.drift(rng, num_frames, 1.0)
    plan = {
        "phase": phase,
        "reach": reach,
        "yaw": np.where(wander > IDLE, 1 - smooth(busy, BLEND), 0.2) * heading,
        "spring": np.full(num_frames, rng.uniform(0.6, 1.3)),
        "posture": posture,
        "bones": np.tile(performers.bone_lengths(rng, rng), (num_frames, 1)),
    }
    points = performers.points_of(action, plan)[:, : body.NUM_NTU_JOINTS]
    points = points + rng.normal(0, 0.003, points.shape)
    return points - points[0, 0], spans


def planned_sets(rng: np.random.Generator) -> tuple[list[Set], int]:
    """The sets of a recording, and the frames that follow them."""
    num_frames = int(rng.integers(*FRAMES))
    chance = rng.random()
    if chance < 0.06:
        return [], num_frames
    length = float(np.exp(rng.uniform(*np.log(LENGTH))))
    if chance < 0.12:
        return [Set(int(rng.integers(20, 120)), [int(max(length, 40))])], int(rng.integers(20, 120))
    rest = int(rng.integers(0, num_frames // 4))
    before = int(rng.integers(0, num_frames // 4))
    left_over = num_frames - rest - before
    first = repetition_lengths(length, left_over, rng)
    left_over -= sum(first)
    pause = int(rng.integers(20, 100))
    second = length * float(np.exp(rng.normal(0, 0.15)))
    if rng.random() < 0.3 and left_over > pause + 2 * second:
        return [
            Set(before, first),
            Set(pause, repetition_lengths(second, left_over - pause, rng)),
        ], rest
    return [Set(before, first)], rest


def repetition_lengths(length: float, num_frames: int, rng: np.random.Generator) -> list[int]:
    """The lengths of two or more repetitions, within `num_frames` if that has room for two."""
    most = max(2, int(num_frames / length))
    number = most if rng.random() < 0.5 else int(rng.integers(2, most + 1))
    trend = np.linspace(-0.5, 0.5, number) * rng.normal(0, 0.25)
    uneven = rng.normal(0, rng.uniform(0.02, 0.14), number)
    return np.maximum(np.rint(length * np.exp(trend + uneven)), 8).astype(int).tolist()


def course(
    sets: Sequence[Set], num_frames: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Phase, reach and whether it repeats, each (F,), and the repetitions (R, 2)."""
    phase, busy = np.zeros(num_frames), np.zeros(num_frames)
    reach = np.full(num_frames, rng.uniform(0.55, 1.1))
    spread = rng.uniform(0.0, 0.12)
    rest, hold = rng.uniform(-0.5, 0.5), rng.uniform(0, 0.45) * (rng.random() < 0.35)
    spans, at = [], 0
    for one in sets:
        at += one.pause
        for length in one.lengths:
            part = np.clip((np.arange(length) / length - hold) / (1 - hold), 0, 1) * 2 * np.pi
            phase[at : at + length] = part - rest * np.sin(part)
            reach[at : at + length] *= 1 + rng.normal(0, spread)
            busy[at : at + length] = 1
            spans.append((at, at + length - 1))
            at += length
    reach = smooth(reach, 5).clip(0.3, 1.25)
    return phase, reach, busy, np.array(spans, np.int64).reshape(-1, 2)


def random_action(rng: np.random.Generator) -> Action:
    """A movement from a posture through one to three random poses."""
    posture = POSTURES[rng.integers(len(POSTURES))]
    posture |= limbs(rng, ARMS, 0.8)
    keys = [random_pose(rng, posture)]
    if rng.random() < 0.3:
        keys += [random_pose(rng, posture) for _ in range(rng.integers(1, 3))]
    if rng.random() < 0.1:
        keys += [mirrored_pose(key) for key in keys]
    return Action(
        0,
        "random",
        through(posture, [REST, *keys]),
        1.0,
        posture.support,
        posture.level,
        flat_feet=posture.flat_feet,
        across=posture.across,
        rest=posture.points()[list(posture.support)],
    )


def random_pose(rng: np.random.Generator, posture: Posture) -> Pose:
    """A pose in which some of the arms, legs and trunk are elsewhere than in the posture."""
    which = rng.choice(("arms", "legs", "trunk", "arms and legs", "all"))
    share = rng.uniform(0.25, 1.0)  # how far the movement goes
    pose: Pose = {}
    if which in ("arms", "arms and legs", "all"):
        pose |= limbs(rng, ARMS, 1.0)
    if which in ("legs", "arms and legs", "all"):
        pose |= limbs(rng, LEGS, 1.0)
    base = posture.angles
    pose = {name: base.get(name, 0.0) + share * (angle - base.get(name, 0.0))
            for name, angle in pose.items()}  # fmt: skip
    if which in ("trunk", "all"):
        for name in rng.choice(list(TRUNK), 2, replace=False).tolist():
            pose[name] = base.get(name, 0.0) + share * rng.normal(0, TRUNK[name])
    return pose


def limbs(rng: np.random.Generator, ranges: dict[str, tuple[int, int]], probability: float) -> Pose:
    """Random angles of both limbs, equal on both sides, or of one of them."""
    if rng.random() > probability:
        return {}
    angles = {name: float(rng.uniform(*limits)) for name, limits in ranges.items()}
    sides = (both, both, both, left, right)
    return sides[rng.integers(len(sides))](**angles)


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """(F,) means over `width` frames."""
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")[: len(values)]
