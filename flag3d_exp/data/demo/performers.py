"""People who do the synthetic motions, each with a body, a tempo, a range and habits."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from flag3d_exp.data.demo import body, motions

SEED = 20230618
FRAME_RATE = 25
# How far postures vary in each angle: who leans as a whole would fall, legs carry.
LOOSENESS = np.array(
    [0.35 if name in ("pitch", "roll") else 0.5 if "leg" in name else 1 for name in body.ANGLES]
)


@dataclass(frozen=True)
class Take:
    """One performance before one camera; takes that differ in the camera only show the same."""

    name: str
    label: int
    person: int
    avatar: int
    repeat: int
    camera: int = 0


def perform(
    takes: list[Take], actions: Sequence[motions.Action] = motions.ACTIONS
) -> list[np.ndarray]:
    """The points of each take, (F, 30, 3): its own body doing repetitions in its own manner.

    Args:
        actions: what the takes' labels stand for.
    """
    found: dict[Take, np.ndarray] = {}
    performances = dict.fromkeys(replace(take, name="", camera=0) for take in takes)
    for label, action in enumerate(actions):
        chosen = [take for take in performances if take.label == label]
        if chosen:
            plans = [_plan(take, action.seconds) for take in chosen]
            ends = np.cumsum([len(plan["phase"]) for plan in plans])
            plan = {name: np.concatenate([plan[name] for plan in plans]) for name in plans[0]}
            points = np.split(points_of(action, plan), ends[:-1])
            found.update(zip(chosen, points, strict=True))
    return [found[replace(take, name="", camera=0)] for take in takes]


def generator(take: Take, stage: int) -> np.random.Generator:
    """The generator of one stage of a take's making, whatever else is made."""
    return np.random.default_rng(
        (SEED, stage, take.person, take.label, take.avatar, take.repeat, take.camera)
    )


def _plan(take: Take, seconds: float) -> dict[str, np.ndarray]:
    """What happens in each frame of a take: arrays whose first size is F."""
    person = np.random.default_rng((SEED, 1, take.person))
    habit = np.random.default_rng((SEED, 2, take.person, take.label))
    rng = np.random.default_rng((SEED, 3, take.person, take.label, take.avatar, take.repeat))
    tempo = person.uniform(0.8, 1.25) * habit.uniform(0.85, 1.15) * rng.uniform(0.93, 1.07)
    phase = _phase(seconds * tempo, habit, rng)
    num_frames, num_angles = len(phase), len(body.ANGLES)
    reach = np.clip(habit.normal(0.92, 0.12) + drift(rng, num_frames, 0.05), 0.5, 1.12)
    posture = person.normal(0, 3.0, num_angles) + habit.normal(0, 4.0, num_angles)
    sway = drift(rng, (num_frames, num_angles), 3.0)
    bones = bone_lengths(person, np.random.default_rng((SEED, 6, take.person, take.avatar)))
    return {
        "phase": phase,
        "reach": reach,
        "yaw": person.normal(0, 6) + rng.normal(0, 10) + drift(rng, num_frames, 3.0),
        "spring": np.full(num_frames, habit.uniform(0.6, 1.3)),
        "posture": LOOSENESS * (posture + sway),
        "bones": np.tile(bones, (num_frames, 1)),
    }


def points_of(action: motions.Action, plan: dict[str, np.ndarray]) -> np.ndarray:
    """The points (F, 30, 3) of frames of one class.

    Args:
        plan: per frame (F, ...): phase, reach, yaw, spring, posture and bones.
    """
    motion = action.motion(plan["phase"], plan["reach"])
    hop = motion.pop("hop", 0.0) * plan["spring"]
    slide = motion.pop("slide", None)
    angles = {
        name: motion.get(name, 0.0) + plan["posture"][:, column]
        for column, name in enumerate(body.ANGLES)
    }
    angles |= {name: motion[name] for name in body.RARE_ANGLES if name in motion}
    bones = body.Bones(*plan["bones"].T)
    points = body.pose_body(angles, bones, np.full(len(hop), action.flat_feet))
    if action.level:
        turned = body.level_across if action.across else body.level
        points = turned(points, *action.level)
    if action.rest is None:
        points = body.stand(points, action.support, hop)
    else:
        points = body.plant(points, action.support, action.rest, hop, action.foremost)
    if slide is not None:
        points[..., 0] += np.reshape(slide, (-1, 1))
    return body.heading(points, plan["yaw"] + action.facing)


def _phase(seconds: float, habit: np.random.Generator, rng: np.random.Generator) -> np.ndarray:
    """Phase (F,) over one to six repetitions that start anywhere, uneven in pace."""
    if seconds > 4.4:  # only some of the sixty actions take so long
        repetitions = rng.uniform(1.3, 2.3)
    else:
        repetitions = rng.uniform(2.0, 4.0) if seconds > 1.5 else rng.uniform(3.0, 6.0)
    num_frames = max(40, round(repetitions * seconds * FRAME_RATE))
    pace = np.exp(drift(rng, num_frames, 0.12))
    phase = np.cumsum(pace) / pace.sum() * repetitions * 2 * np.pi + rng.uniform(0, 2 * np.pi)
    # A habit of resting at the start of a repetition (positive) or in its middle.
    rest = habit.uniform(-0.35, 0.35)
    return phase - rest * np.sin(phase)


def bone_lengths(person: np.random.Generator, avatar: np.random.Generator) -> np.ndarray:
    """Bone lengths in the order of `Bones`: stature, proportions, and those of the avatar."""
    mean = np.array([field.default for field in fields(body.Bones)])
    proportions = person.normal(1, 0.04, len(mean)) * avatar.normal(1, 0.03, len(mean))
    return mean * person.normal(1, 0.06) * proportions


def drift(rng: np.random.Generator, shape: int | tuple[int, int], size: float) -> np.ndarray:
    """Slow change over frames (F,) or (F, channels) with about this standard deviation."""
    num_frames, *channels = (shape,) if isinstance(shape, int) else shape
    seconds = np.arange(num_frames).reshape(-1, *(1 for _ in channels)) / FRAME_RATE
    total = np.zeros((num_frames, *channels))
    for frequency in (0.15, 0.4, 0.9):
        phase = rng.uniform(0, 2 * np.pi, channels)
        pitch = frequency * rng.uniform(0.7, 1.4, channels)
        total += np.sin(2 * np.pi * pitch * seconds + phase)
    return size * np.sqrt(2 / 3) * total
