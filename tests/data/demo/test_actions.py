from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from flag3d_exp.data.demo import body, performers
from flag3d_exp.data.demo.actions import ACTIONS
from flag3d_exp.data.demo.dataset import TRAIN_PERSONS, VAL_PERSONS
from flag3d_exp.data.demo.performers import Take
from flag3d_exp.data.demo.poses import mirrored_pose

CONF = Path(__file__).parents[3] / "conf" / "dataset"
LABELS = {action.name: label for label, action in enumerate(ACTIONS)}
BONES = [(1, 0), (20, 1), (2, 20), (3, 2), (4, 20), (5, 4), (6, 5), (7, 6), (21, 7), (8, 20)]
BONES += [(9, 8), (10, 9), (11, 10), (23, 11), (12, 0), (13, 12), (14, 13), (15, 14), (16, 0)]
BONES += [(17, 16), (18, 17), (19, 18)]
JUMPS = ("Squat Jump", "Butt Kicks", "Jump Left and Right", "Jumping Jacks", "High Knee")
JUMPS += ("Clap Jacks", "Run In Place With Arm Swing")
ON_THE_FLOOR = {  # by how high the pelvis is in the mean, in metres
    (0.0, 0.15): (
        *("Small Dumbbell Floor Flies", "Prone Y-shape Stretch", "Half Roll Back", "Sit-ups"),
        *("Lying Shoulder Joint Upward Round", "Lying Shoulder Joint Downward Round"),
        *("Lying Alternate Upper-half Leg Raise", "Prone Press-ups", "Lying Arm Pull"),
        "Prone Press Up With Torso Rotation",
    ),
    (0.1, 0.3): (
        *("Side-lying Left Leg Forward Raise", "Side-lying Right Leg Backward Kick"),
        *("Shoulder Bridge", "Breaststroke Push-ups", "Kneeling Push-ups"),
    ),
    (0.3, 0.55): (
        *("Push-ups", "Kneeling Right-side Torso Twist", "Kneeling Right Arm Raise"),
        *("Kneeling Right Leg Backward Stretch", "Kneeling Left Knee Lift"),
    ),
}
LEFT_HAND, RIGHT_HAND, RIGHT_ELBOW, LEFT_FOOT, RIGHT_FOOT = 6, 10, 9, 14, 18


@pytest.fixture(params=LABELS)
def name(request) -> str:
    return request.param


@cache
def performed(persons: tuple[int, ...]) -> dict[tuple[int, int], np.ndarray]:
    """The points of each person's performance of each class, by class and person."""
    takes = [Take("", label, person, 1, 1) for label in LABELS.values() for person in persons]
    points = performers.perform(takes, ACTIONS)
    return {(one.label, one.person): x for one, x in zip(takes, points, strict=True)}


def takes_of(name: str) -> list[np.ndarray]:
    return [x for (label, _), x in performed(TRAIN_PERSONS).items() if label == LABELS[name]]


def travel(points: np.ndarray, joint: int) -> float:
    """How far a joint moves about, as a standard deviation in metres."""
    return float(np.linalg.norm(points[:, joint].std(axis=0)))


def features(points: np.ndarray) -> np.ndarray:
    """Where joints are, how far and fast they move, and which way round."""
    joints = points[:, :25] - points[:, :1] * (1, 1, 0)
    speed = np.diff(joints, axis=0) * performers.FRAME_RATE
    place = joints[:-1] - joints.mean(axis=0)
    area = np.cross(place, speed).mean(axis=0)
    signed = np.sign(area) * np.sqrt(np.abs(area))
    return np.stack([joints.mean(0), joints.std(0), np.abs(speed).mean(0) / 2, signed]).ravel()


def test_the_actions_are_those_of_flag3d():
    conf = yaml.safe_load((CONF / "flag3d_in_domain.yaml").read_text())
    assert list(LABELS) == conf["classes"]
    assert [action.number for action in ACTIONS] == list(range(1, 61))


def test_bones_keep_their_length(name):
    for points in takes_of(name):
        assert np.isfinite(points).all()
        for joint, parent in BONES:
            length = np.linalg.norm(points[:, joint] - points[:, parent], axis=-1)
            np.testing.assert_allclose(length, length[0], rtol=1e-9)


def test_the_lowest_point_is_on_the_floor_unless_it_jumps(name):
    lowest = np.concatenate([points[..., 2].min(axis=1) for points in takes_of(name)])
    assert -1e-9 < lowest.min() < 0.001
    assert (lowest.max() > 0.02) == (name in JUMPS)


def test_nothing_moves_faster_than_people_do(name):
    for points in takes_of(name):
        speed = np.linalg.norm(np.diff(points, axis=0), axis=-1) * performers.FRAME_RATE
        assert speed[:, 0].max() < 4
        assert speed.max() < 14


def test_no_joint_bends_the_wrong_way_or_too_far(name):
    phase = np.linspace(0, 2 * np.pi, 200)
    motion = ACTIONS[LABELS[name]].motion
    for side in body.SIDES:
        for joint in ("elbow", "knee"):
            assert np.min(motion(phase, np.ones(200)).get(f"{side}_{joint}", 0.0)) >= 0
    angles = motion(phase, np.full(200, 1.12))  # the widest range
    for side in body.SIDES:
        for joint, least, most in (("elbow", -10, 160), ("knee", -10, 145), ("leg", -45, 145)):
            angle = angles.get(f"{side}_{joint}", 0.0)
            assert least <= np.min(angle) and np.max(angle) <= most
    for angle, most in (("nod", 60), ("turn", 80), ("twist", 75), ("bend", 60), ("tilt", 50)):
        assert np.abs(angles.get(angle, 0.0)).max() <= most


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [(name, *bounds) for bounds, names in ON_THE_FLOOR.items() for name in names],
)
def test_postures_on_the_floor_are_as_low_as_their_names_say(name, least, most):
    pelvis = np.mean([points[:, 0, 2].mean() for points in takes_of(name)])
    assert least < pelvis < most


def test_all_others_stand():
    lying = {name for names in ON_THE_FLOOR.values() for name in names}
    for name in LABELS.keys() - lying:
        assert np.mean([points[:, 0, 2].mean() for points in takes_of(name)]) > 0.7


@pytest.mark.parametrize(
    ("name", "moving", "still"),
    [
        ("Right-side Kettlebell Bent-over Row", RIGHT_HAND, LEFT_HAND),
        (
            "Right-side Bent-over Tricep Extension With Resistance Band",
            *(RIGHT_HAND, LEFT_HAND),
        ),
        ("Kneeling Right-side Torso Twist", RIGHT_ELBOW, LEFT_HAND),
        ("Left-side Knee Raise And Abdominal Muscles Contract", LEFT_FOOT, RIGHT_FOOT),
        ("Kneeling Right Leg Backward Stretch", RIGHT_FOOT, LEFT_FOOT),
        ("Kneeling Right Arm Raise", RIGHT_HAND, LEFT_HAND),
        ("Side-lying Left Leg Forward Raise", LEFT_FOOT, RIGHT_FOOT),
        ("Right Leg Reverse Lunge", RIGHT_FOOT, LEFT_FOOT),
        ("Kneeling Left Knee Lift", LEFT_FOOT, RIGHT_FOOT),
        ("Side-lying Right Leg Backward Kick", RIGHT_FOOT, LEFT_FOOT),
        ("Left Leg Lunge With Knee Lift", LEFT_FOOT, RIGHT_FOOT),
    ],
)
def test_the_side_that_a_name_says_moves(name, moving, still):
    for points in takes_of(name):
        assert travel(points, moving) > 1.25 * travel(points, still)


@pytest.mark.parametrize(
    "name",
    [
        *("Fortune Cat", "Alternate Dumbbell Curls", "Two-way Head Turn"),
        *("Lying Alternate Upper-half Leg Raise", "Bent-over Torso Rotation"),
        *("Prone Press Up With Torso Rotation", "Alternate Reverse Lunge", "Butt Kicks"),
        *("Squat With Alternate Knee Lift", "Standing Alternate Butt Kick"),
        *("Jump Left and Right", "High Knee", "Run In Place With Arm Swing"),
    ],
)
def test_what_both_sides_do_in_turn_is_the_mirror_image_half_a_repetition_later(name):
    motion = ACTIONS[LABELS[name]].motion
    phase = np.linspace(0, np.pi, 9)
    first, second = motion(phase, np.ones(9)), motion(phase + np.pi, np.ones(9))
    for angle, values in mirrored_pose(first).items():
        np.testing.assert_allclose(second[angle], values, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Lateral Raise Forward Circles", "Lateral Raise Backward Circles"),
        ("Lying Shoulder Joint Upward Round", "Lying Shoulder Joint Downward Round"),
    ],
)
def test_circles_of_the_other_direction_are_the_same_reversed_in_time(name, other):
    phase = np.linspace(0, 2 * np.pi, 20)
    one = ACTIONS[LABELS[name]].motion(phase, np.ones(20))
    start = 0.0 if "Raise" in name else np.pi  # the other begins half a circle later
    two = ACTIONS[LABELS[other]].motion(start - phase, np.ones(20))
    for angle, values in one.items():
        np.testing.assert_allclose(two[angle], values, atol=1e-9)


def test_classes_of_other_people_are_told_apart_by_the_nearest_mean():
    train, val = performed(TRAIN_PERSONS), performed(VAL_PERSONS)
    means = np.stack(
        [
            np.mean([features(x) for (label, _), x in train.items() if label == wanted], axis=0)
            for wanted in LABELS.values()
        ]
    )
    found = [np.abs(features(x) - means).sum(axis=1).argmin() for x in val.values()]
    assert np.mean(np.array(found) == [label for label, _ in val]) > 0.85
