"""Named poses of arms and legs, and the postures that FLAG3D's actions start from.

Angles are in degrees, see `body.pose_body`.
"""

from dataclasses import replace

from flag3d_exp.data.demo.motions import TOES, WRISTS
from flag3d_exp.data.demo.poses import Pose, Posture, both, left, mirrored_pose, right

LEFT_FOOT, RIGHT_FOOT = (14, 15), (18, 19)
ANKLES, KNEES, LEFT_KNEE, RIGHT_KNEE, LEFT_WRIST = (14, 18), (13, 17), (13,), (17,), (6,)
PELVIS, SHOULDERS = (0,), (20,)
SIDEWAYS = 70.0  # a body on the floor shows the camera its side

# Arms.
HANG = both(arm=6, arm_plane=10, elbow=8)
HANG_FORWARD = both(arm=6, arm_plane=88, elbow=8)
FORWARD = both(arm=86, arm_plane=90, elbow=5)
TOGETHER = both(arm=82, arm_plane=108, elbow=8)  # hands meet in front of the chest
SPREAD = both(arm=86, arm_plane=4, elbow=8)
OVERHEAD = both(arm=168, arm_plane=88, elbow=8)
ON_HIPS = both(arm=44, arm_plane=0, arm_twist=80, elbow=78)
AT_CHEST = both(arm=48, arm_plane=69, arm_twist=60, elbow=118)  # palm to palm
CLASPED = both(arm=34, arm_plane=86, arm_twist=40, elbow=92)
AT_EARS = both(arm=100, arm_plane=20, arm_twist=-70, elbow=138)
AT_RIBS = both(arm=24, arm_plane=-50, elbow=118)
SCARECROW = both(arm=86, arm_plane=5, arm_twist=85, elbow=90)  # forearms hang
CACTUS = both(arm=86, arm_plane=5, arm_twist=-85, elbow=90)  # forearms point up
ON_FLOOR = both(arm=90, arm_plane=90, elbow=4, wrist=80)
BESIDE_CHEST = both(arm=34, arm_plane=-8, arm_twist=-85, elbow=132, wrist=0)  # flat on the floor
PAST_HEAD = both(arm=165, arm_plane=0, arm_twist=-85, elbow=8, wrist=0)
LOWERED = both(arm=14, arm_plane=60, elbow=98)  # of a push-up
# The left hand is behind, as when the left knee is in front.
SWING = left(arm=-40, arm_plane=88, elbow=85) | right(arm=40, arm_plane=88, elbow=85)
LEFT_HAND_ON_THIGH = left(arm=48, arm_plane=84, elbow=15)

# Legs.
STRAIGHT = both(leg=1, leg_plane=88, knee=3)
SQUAT = both(leg=112, leg_plane=82, knee=110) | {"pitch": 32.0}
HALF_SQUAT = both(leg=55, leg_plane=85, knee=55) | {"pitch": 16.0}
LEFT_KNEE_UP = left(leg=98, knee=100)
# The right leg is behind, on its toes.
LUNGE: Pose = {"pitch": 8.0} | left(leg=84, knee=88, ankle=-12) | right(leg=-21, knee=60, ankle=22)
STEPPING: Pose = left(leg=22, knee=25) | right(leg=-8, knee=62, ankle=20)
APART = both(leg=25, leg_plane=4)
HALF_APART: Pose = {"hop": 0.1} | both(leg=13, leg_plane=4)
BENT = both(leg=48, leg_plane=88, knee=95)

STAND = Posture(STRAIGHT | HANG)
HANDS_ON_HIPS = STAND | ON_HIPS
ON_TOES = replace(HANDS_ON_HIPS, flat_feet=0.0)
ON_LEFT_FOOT = replace(ON_TOES, support=LEFT_FOOT)
ON_RIGHT_FOOT = replace(ON_TOES, support=RIGHT_FOOT)
RUN = Posture(STRAIGHT | both(arm=0, arm_plane=88, elbow=85), PELVIS, flat_feet=0.0)
HINGE = STAND | {"pitch": 62.0, "bend": 12.0} | both(leg=70, knee=14)
HINGE |= both(arm=74, arm_plane=88, elbow=6)  # the arms hang from the bent trunk
ALL_FOURS = Posture(
    {"pitch": 78.0, "nod": -15.0}
    | both(leg=78, leg_plane=90, knee=92, ankle=70)
    | ON_FLOOR
    | both(arm=79),
    (*WRISTS, *KNEES),
    (WRISTS, KNEES),
    flat_feet=0.0,
    facing=SIDEWAYS,
)
PLANK = Posture(
    {"pitch": 90.0, "nod": -12.0} | both(leg=4, leg_plane=90, knee=2) | ON_FLOOR,
    (*WRISTS, *TOES),
    (WRISTS, TOES),
    flat_feet=0.0,
    facing=SIDEWAYS,
)
KNEELING_PLANK = Posture(
    {"pitch": 90.0, "nod": -12.0} | both(leg=8, leg_plane=90, knee=82, ankle=50) | ON_FLOOR,
    (*WRISTS, *KNEES),
    (WRISTS, KNEES),
    flat_feet=0.0,
    facing=SIDEWAYS,
)
SUPINE = Posture(
    {"pitch": -90.0} | STRAIGHT | HANG | both(ankle=20),
    PELVIS,
    (PELVIS, SHOULDERS),
    flat_feet=0.0,
    facing=SIDEWAYS,
)
SUPINE_BENT = SUPINE | BENT
PRONE = Posture(
    {"pitch": 90.0, "nod": -15.0} | STRAIGHT | both(ankle=70),
    PELVIS,
    (PELVIS, ANKLES),
    flat_feet=0.0,
    facing=SIDEWAYS,
)
FLAT: Pose = both(ankle=65) | {"nod": -15.0}
ON_BELLY = PRONE | {"bend": -4.0} | both(arm=62, arm_plane=-8, arm_twist=-85, elbow=118)
PRESSED: Pose = {"bend": -50.0, "nod": -22.0} | both(
    leg=-25, arm=52, arm_plane=64, arm_twist=0, elbow=28, wrist=25
)
PRESSED_LEFT = PRESSED | {"twist": 34.0, "turn": 40.0} | left(arm_plane=96) | right(arm_plane=32)
SIT = Posture(
    {"pitch": -12.0, "bend": 22.0} | both(leg=124, leg_plane=88, knee=96) | FORWARD,
    (*PELVIS, *ANKLES),
    (ANKLES, PELVIS),
    flat_feet=0.0,
    facing=SIDEWAYS,
)
# On the right side, the head on the right arm, the left hand on the floor in front.
SIDE_LYING: Pose = (
    {"roll": 90.0, "tilt": -8.0}
    | right(arm=176, arm_plane=4, leg=14, leg_plane=88, knee=20, ankle=20)
    | left(arm=40, arm_plane=92, arm_twist=40, elbow=80, leg=2, leg_plane=88, knee=4, ankle=20)
)
ON_RIGHT_SIDE = Posture(SIDE_LYING, PELVIS, ((8,), (18,)), across=True, flat_feet=0.0)
ON_LEFT_SIDE = Posture(mirrored_pose(SIDE_LYING), PELVIS, ((14,), (4,)), across=True, flat_feet=0.0)
