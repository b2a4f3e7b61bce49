"""FLAG3D's 60 actions by body part, and published results to compare runs with."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# In the order of their numbers A001 to A060; label = number - 1.
BODY_PARTS: dict[str, tuple[str, ...]] = {
    "chest": (
        "Svend Press",
        "Kneeling Push-ups",
        "Standing Straight-arm Chest Press With Resistance Band",
        "Small Dumbbell Floor Flies",
        "Chest Fly",
        "Push-ups",
    ),
    "back": (
        "Bent-over W-shape Stretch",
        "Bent-over Y-shape Stretch",
        "Bent-over A-shape Stretch",
        "Squat With Arm Lift",
        "Breaststroke Arm Pull",
        "Prone Y-shape Stretch",
    ),
    "shoulder": (
        "Lateral Raise Forward Circles",
        "Lateral Raise Backward Circles",
        "Lying Shoulder Joint Upward Round",
        "Lying Shoulder Joint Downward Round",
        "Bare-handed Full Lateral Raise",
        "Bare-handed Cuban Press",
        "Fortune Cat",
    ),
    "arm": (
        "Dumbbell Curls",
        "Alternate Dumbbell Curls",
        "Right-side Kettlebell Bent-over Row",
        "Wrist Joint Warm-up",
        "Right-side Bent-over Tricep Extension With Resistance Band",
        "Bent-over Dumbbell Tricep Extension",
    ),
    "neck": (
        "Nod And Raise Head",
        "Two-way Head Turn",
        "Shrug And Sink The Shoulders",
        "Four-way Nod Head",
    ),
    "abdomen": (
        "Lying Alternate Upper-half Leg Raise",
        "Half Roll Back",
        "Kneeling Right-side Torso Twist",
        "Left-side Knee Raise And Abdominal Muscles Contract",
        "Kneeling Right Leg Backward Stretch",
        "Kneeling Right Arm Raise",
    ),
    "waist": (
        "Shoulder Bridge",
        "Prone Press-ups",
        "Bent-over Torso Rotation",
        "Lying Arm Pull",
        "Prone Press Up With Torso Rotation",
        "Breaststroke Push-ups",
        "Sit-ups",
    ),
    "hip": (
        "Side-lying Left Leg Forward Raise",
        "Right Leg Reverse Lunge",
        "Kneeling Left Knee Lift",
        "Alternate Reverse Lunge",
        "Side-lying Right Leg Backward Kick",
        "Left Leg Lunge With Knee Lift",
        "Sumo Squat",
    ),
    "leg": (
        "Straight Leg Calf Raise",
        "Squat Jump",
        "Squat With Alternate Knee Lift",
        "Standing Alternate Butt Kick",
        "Knee Warm-up",
    ),
    "whole body": (
        "Butt Kicks",
        "Jump Left and Right",
        "Jumping Jacks",
        "High Knee",
        "Clap Jacks",
        "Run In Place With Arm Swing",
    ),
}
CLASSES: tuple[str, ...] = tuple(name for names in BODY_PARTS.values() for name in names)
BODY_PART_OF: dict[str, str] = {name: part for part, names in BODY_PARTS.items() for name in names}
# S001C001M002P005A015R003 and PLAY_A001_V001_R001_S001.
_MOCAP_NAME = re.compile(r"S\d{3}C\d{3}M\d{3}(P\d{3})A\d{3}R\d{3}")
_VIDEO_NAME = re.compile(r"(P[A-Z]+)_A\d{3}_V\d{3}_R\d{3}_S\d{3}")


@dataclass(frozen=True)
class Published:
    """A published result on a protocol's `val` split; `correct` if the predictions are public."""

    method: str
    protocol: str
    source: str
    top1: float
    correct: int | None = None
    total: int | None = None


_PAPER = "published, CVPR 2023"
_MINDSPORE = "published, MindSpore 2023"
PUBLISHED: tuple[Published, ...] = (
    Published("ST-GCN", "in_domain", _PAPER, 0.978),
    Published("2s-AGCN", "in_domain", _PAPER, 0.986),
    Published("MS-G3D", "in_domain", _PAPER, 0.977),
    Published("CTR-GCN", "in_domain", _PAPER, 0.975),
    Published("ST-GCN", "in_domain", _MINDSPORE, 1762 / 2160, 1762, 2160),
    Published("2s-AGCN (one AAGCN stream)", "in_domain", _MINDSPORE, 2129 / 2160, 2129, 2160),
    Published("ST-GCN", "out_domain", _PAPER, 0.699),
    Published("2s-AGCN", "out_domain", _PAPER, 0.816),
    Published("MS-G3D", "out_domain", _PAPER, 0.736),
    Published("CTR-GCN", "out_domain", _PAPER, 0.772),
    Published("PoseC3D", "out_domain", _PAPER, 0.799),
    Published("ST-GCN", "out_domain", _MINDSPORE, 4215 / 7200, 4215, 7200),
    Published("2s-AGCN (one AAGCN stream)", "out_domain", _MINDSPORE, 5868 / 7200, 5868, 7200),
    Published("PoseC3D", "out_domain", _MINDSPORE, 5752 / 7200, 5752, 7200),
)


def subject(name: str) -> str | None:
    """The person in a recording's name of FLAG3D's form; None for other names."""
    match = _MOCAP_NAME.fullmatch(name) or _VIDEO_NAME.fullmatch(name)
    return match[1] if match else None


def protocol(names: Sequence[str], num_classes: int) -> str | None:
    """The protocol, `in_domain` or `out_domain`, of recordings of FLAG3D's 60 classes."""
    if num_classes != len(CLASSES):
        return None
    if all(_MOCAP_NAME.fullmatch(name) for name in names):
        return "in_domain"
    if all(_VIDEO_NAME.fullmatch(name) for name in names):
        return "out_domain"
    return None
