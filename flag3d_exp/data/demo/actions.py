"""FLAG3D's 60 actions as postures and key poses.

An action is where the body is, and the poses that it passes through in a repetition; from a single
pose it returns to the posture.
"""

from collections.abc import Sequence
from dataclasses import replace

from flag3d_exp.data.demo.motions import TOES, WRISTS, Action
from flag3d_exp.data.demo.poses import (
    REST,
    Pose,
    Posture,
    both,
    in_turn,
    left,
    mirrored_pose,
    right,
    through,
)
from flag3d_exp.data.demo.postures import (
    ALL_FOURS,
    ANKLES,
    APART,
    AT_CHEST,
    AT_EARS,
    AT_RIBS,
    BESIDE_CHEST,
    CACTUS,
    CLASPED,
    FLAT,
    HALF_APART,
    HALF_SQUAT,
    HANDS_ON_HIPS,
    HANG_FORWARD,
    HINGE,
    KNEELING_PLANK,
    KNEES,
    LEFT_HAND_ON_THIGH,
    LEFT_KNEE,
    LEFT_KNEE_UP,
    LEFT_WRIST,
    LOWERED,
    LUNGE,
    ON_BELLY,
    ON_LEFT_FOOT,
    ON_LEFT_SIDE,
    ON_RIGHT_FOOT,
    ON_RIGHT_SIDE,
    ON_TOES,
    OVERHEAD,
    PAST_HEAD,
    PELVIS,
    PLANK,
    PRESSED,
    PRESSED_LEFT,
    PRONE,
    RIGHT_KNEE,
    RUN,
    SCARECROW,
    SHOULDERS,
    SIT,
    SPREAD,
    SQUAT,
    STAND,
    STEPPING,
    SUPINE,
    SUPINE_BENT,
    SWING,
    TOGETHER,
)

# By name, in the order of FLAG3D's numbers: seconds, posture, poses.
_MOTIONS: dict[str, tuple[float, Posture, Sequence[Pose]]] = {
    # Chest.
    "Svend Press": (2.2, STAND | AT_CHEST, [TOGETHER]),
    "Kneeling Push-ups": (1.9, KNEELING_PLANK, [LOWERED]),
    "Standing Straight-arm Chest Press With Resistance Band": (
        2.2,
        STAND | both(arm=-28, arm_plane=95, elbow=120),
        [both(arm=86, arm_plane=88, elbow=5)],
    ),
    "Small Dumbbell Floor Flies": (
        2.4,
        SUPINE_BENT | both(arm=88, arm_plane=92, elbow=12),
        [both(arm=84, arm_plane=2, elbow=16)],
    ),
    "Chest Fly": (2.2, STAND | SPREAD, [both(arm=84, arm_plane=104, elbow=14)]),
    "Push-ups": (1.8, PLANK, [LOWERED]),
    # Back.
    "Bent-over W-shape Stretch": (
        2.2,
        HINGE,
        [both(arm=46, arm_plane=-10, arm_twist=-90, elbow=95)],
    ),
    "Bent-over Y-shape Stretch": (2.2, HINGE, [both(arm=145, arm_plane=10, elbow=4)]),
    "Bent-over A-shape Stretch": (2.2, HINGE, [both(arm=-36, arm_plane=118, elbow=4)]),
    "Squat With Arm Lift": (2.4, STAND | HANG_FORWARD, [SQUAT | OVERHEAD]),
    "Breaststroke Arm Pull": (
        2.6,
        STAND | {"bend": 10.0} | TOGETHER,
        [REST, both(arm=84, arm_plane=30, elbow=25), AT_RIBS, AT_CHEST],
    ),
    "Prone Y-shape Stretch": (
        2.2,
        PRONE | both(arm=145, arm_plane=0, elbow=4),
        [{"bend": -16.0} | both(arm_plane=-30)],
    ),
    # Shoulder.
    "Lateral Raise Forward Circles": (
        1.3,
        STAND | SPREAD,
        [both(arm=108), both(arm_plane=24), both(arm=64), both(arm_plane=-20)],
    ),
    "Lateral Raise Backward Circles": (
        1.3,
        STAND | SPREAD,
        [both(arm=108), both(arm_plane=-20), both(arm=64), both(arm_plane=24)],
    ),
    "Lying Shoulder Joint Upward Round": (
        3.0,
        SUPINE | both(arm=90, arm_plane=45),
        [both(arm=12), both(arm_plane=0), both(arm=168), both(arm_plane=90)],
    ),
    "Lying Shoulder Joint Downward Round": (
        3.0,
        SUPINE | both(arm=90, arm_plane=45),
        [both(arm=168), both(arm_plane=0), both(arm=12), both(arm_plane=90)],
    ),
    "Bare-handed Full Lateral Raise": (2.2, STAND, [both(arm=181, arm_plane=6)]),
    "Bare-handed Cuban Press": (
        4.2,
        STAND,
        [REST, SCARECROW, CACTUS, CACTUS | both(arm=165, elbow=15), CACTUS, SCARECROW],
    ),
    "Fortune Cat": (
        2.0,
        STAND | SPREAD | both(elbow=90),
        in_turn(left(arm_twist=-80) | right(arm_twist=80)),
    ),
    # Arm.
    "Dumbbell Curls": (1.8, STAND | HANG_FORWARD, [both(arm=16, elbow=132)]),
    "Alternate Dumbbell Curls": (
        2.8,
        STAND | HANG_FORWARD,
        in_turn(REST, left(arm=16, elbow=132)),
    ),
    "Right-side Kettlebell Bent-over Row": (
        2.0,
        HINGE | LEFT_HAND_ON_THIGH,
        [{"twist": -10.0} | right(arm=-32, elbow=98)],
    ),
    "Wrist Joint Warm-up": (
        1.5,
        STAND | CLASPED,
        [
            both(wrist=40, elbow=102),
            left(arm_twist=22, wrist=20) | right(arm_twist=58, wrist=-20) | {"twist": 4.0},
            both(wrist=-40, elbow=82),
            left(arm_twist=58, wrist=-20) | right(arm_twist=22, wrist=20) | {"twist": -4.0},
        ],
    ),
    "Right-side Bent-over Tricep Extension With Resistance Band": (
        2.0,
        HINGE | LEFT_HAND_ON_THIGH | right(arm=-8, elbow=105),
        [right(elbow=6)],
    ),
    "Bent-over Dumbbell Tricep Extension": (
        2.0,
        HINGE | both(arm=-8, elbow=105),
        [both(elbow=6)],
    ),
    # Neck.
    "Nod And Raise Head": (
        2.2,
        HANDS_ON_HIPS,
        [{"nod": 46.0, "bend": 4.0}, {"nod": -40.0, "bend": -4.0}],
    ),
    "Two-way Head Turn": (2.8, STAND, in_turn({"turn": 68.0, "twist": 10.0, "tilt": -6.0})),
    "Shrug And Sink The Shoulders": (
        1.8,
        STAND,
        [both(shrug=26, arm=4, elbow=16) | {"nod": -4.0}],
    ),
    "Four-way Nod Head": (
        4.8,
        HANDS_ON_HIPS,
        [REST, {"nod": 46.0}, REST, {"nod": -38.0}, REST, {"tilt": -40.0}, REST, {"tilt": 40.0}],
    ),
    # Abdomen.
    "Lying Alternate Upper-half Leg Raise": (
        2.0,
        SUPINE | both(leg=62, knee=4),
        in_turn(left(leg=90) | right(leg=35)),
    ),
    "Half Roll Back": (2.6, SIT, [{"pitch": -58.0, "bend": 34.0} | both(leg=78)]),
    "Kneeling Right-side Torso Twist": (
        2.4,
        ALL_FOURS.borne_by(LEFT_WRIST, KNEES)
        | right(arm=95, arm_plane=25, arm_twist=-70, elbow=138, wrist=0),
        [
            {"twist": 18.0, "turn": 10.0} | left(arm_plane=105),
            {"twist": -48.0, "turn": -25.0} | left(arm=40, arm_plane=45, elbow=82, wrist=40),
        ],
    ),
    "Left-side Knee Raise And Abdominal Muscles Contract": (
        2.2,
        ON_RIGHT_FOOT | both(arm=150, arm_plane=70, arm_twist=0, elbow=15),
        [LEFT_KNEE_UP | {"bend": 34.0, "nod": 12.0} | both(arm=50, arm_plane=85, elbow=45)],
    ),
    "Kneeling Right Leg Backward Stretch": (
        2.2,
        ALL_FOURS.borne_by(WRISTS, LEFT_KNEE),
        [right(leg=-6, knee=4, ankle=20) | {"nod": -25.0}],
    ),
    "Kneeling Right Arm Raise": (
        2.2,
        ALL_FOURS.borne_by(LEFT_WRIST, KNEES),
        [right(arm=176, wrist=0) | {"nod": -25.0}],
    ),
    # Waist.
    "Shoulder Bridge": (
        2.2,
        SUPINE_BENT.borne_by(ANKLES, SHOULDERS) | both(arm=0, arm_plane=88),
        [both(leg=-6, knee=88, arm=-27)],
    ),
    "Prone Press-ups": (2.6, ON_BELLY, [PRESSED]),
    "Bent-over Torso Rotation": (
        2.4,
        HINGE | both(arm=86, arm_plane=4),
        in_turn({"twist": 62.0, "turn": 15.0}),
    ),
    "Lying Arm Pull": (2.4, PRONE | {"bend": -18.0} | PAST_HEAD, [BESIDE_CHEST]),
    "Prone Press Up With Torso Rotation": (
        5.0,
        ON_BELLY,
        in_turn(REST, PRESSED, PRESSED_LEFT, PRESSED),
    ),
    "Breaststroke Push-ups": (
        4.2,
        replace(PLANK, support=TOES),
        [
            REST,
            FLAT | BESIDE_CHEST,
            FLAT | PAST_HEAD,
            FLAT | SPREAD | both(arm_twist=-85, wrist=0),
            FLAT | BESIDE_CHEST,
        ],
    ),
    "Sit-ups": (
        2.6,
        SUPINE_BENT.borne_by(ANKLES, PELVIS) | AT_EARS,
        [{"pitch": -14.0, "bend": 24.0} | both(leg=124)],
    ),
    # Hip.
    "Side-lying Left Leg Forward Raise": (2.2, ON_RIGHT_SIDE, [left(leg=82)]),
    "Right Leg Reverse Lunge": (2.4, ON_LEFT_FOOT, [REST, STEPPING, LUNGE, STEPPING]),
    "Kneeling Left Knee Lift": (
        2.0,
        ALL_FOURS.borne_by(WRISTS, RIGHT_KNEE),
        [left(leg_plane=10)],
    ),
    "Alternate Reverse Lunge": (
        4.4,
        replace(ON_TOES, foremost=True),
        in_turn(REST, STEPPING, LUNGE, STEPPING),
    ),
    "Side-lying Right Leg Backward Kick": (
        2.0,
        ON_LEFT_SIDE | right(leg=45, knee=60),
        [right(leg=-34, knee=4)],
    ),
    "Left Leg Lunge With Knee Lift": (
        2.8,
        ON_RIGHT_FOOT,
        [mirrored_pose(LUNGE), mirrored_pose(STEPPING), LEFT_KNEE_UP, mirrored_pose(STEPPING)],
    ),
    "Sumo Squat": (
        2.2,
        STAND | both(leg=24, leg_plane=5, knee=4) | CLASPED,
        [both(leg=84, leg_plane=38, knee=86) | {"pitch": 14.0}],
    ),
    # Leg.
    "Straight Leg Calf Raise": (1.8, ON_TOES, [both(ankle=42)]),
    "Squat Jump": (
        1.9,
        STAND | both(arm_plane=90, elbow=20),
        [
            REST,
            HALF_SQUAT | both(arm=30),
            SQUAT | both(arm=60, elbow=40),
            HALF_SQUAT | both(arm=15),
            both(arm=-30),
            {"hop": 0.28} | both(arm=-30),
        ],
    ),
    "Squat With Alternate Knee Lift": (
        4.4,
        STAND | CLASPED,
        in_turn(REST, SQUAT, REST, LEFT_KNEE_UP),
    ),
    "Standing Alternate Butt Kick": (
        2.6,
        replace(HANDS_ON_HIPS, support=PELVIS),
        in_turn(REST, left(leg=-4, knee=125, ankle=40)),
    ),
    "Knee Warm-up": (
        1.8,
        STAND
        | {"pitch": 36.0, "bend": 14.0}
        | both(leg=70, knee=58, arm=60, arm_plane=94),  # hands on the knees
        [
            both(leg=84, knee=84),
            left(leg_plane=72) | right(leg_plane=106) | {"roll": 6.0},
            both(leg=54, knee=30),
            left(leg_plane=106) | right(leg_plane=72) | {"roll": -6.0},
        ],
    ),
    # Whole body.
    "Butt Kicks": (
        0.8,
        RUN,
        in_turn({"hop": 0.05}, SWING | left(leg=2, knee=122, ankle=30)),
    ),
    "Jump Left and Right": (
        1.5,
        STAND | both(arm=15, arm_plane=60, elbow=70),
        in_turn({"hop": 0.14}, {"slide": -0.35, "pitch": 16.0} | both(leg=46, knee=50)),
    ),
    "Jumping Jacks": (
        1.0,
        STAND | both(leg=2, leg_plane=4, arm_plane=6),
        [REST, HALF_APART | both(arm=88), APART | both(arm=180), HALF_APART | both(arm=88)],
    ),
    "High Knee": (0.9, RUN, in_turn({"hop": 0.05}, SWING | LEFT_KNEE_UP)),
    "Clap Jacks": (
        1.1,
        STAND | both(leg=2, leg_plane=4) | TOGETHER,
        [REST, HALF_APART | both(arm_plane=50), APART | SPREAD, HALF_APART | both(arm_plane=50)],
    ),
    "Run In Place With Arm Swing": (
        0.8,
        RUN,
        in_turn({"hop": 0.03}, SWING | left(leg=34, knee=62, ankle=10)),
    ),
}


def _action(
    number: int, name: str, seconds: float, posture: Posture, poses: Sequence[Pose]
) -> Action:
    keys = poses if len(poses) > 1 else (REST, *poses)
    return Action(
        number,
        name,
        through(posture, keys),
        seconds,
        posture.support,
        posture.level,
        flat_feet=posture.flat_feet,
        across=posture.across,
        facing=posture.facing,
        foremost=posture.foremost,
        rest=posture.points()[list(posture.support)],
    )


ACTIONS = tuple(
    _action(number, name, *motion)
    for number, (name, motion) in enumerate(_MOTIONS.items(), start=1)
)
