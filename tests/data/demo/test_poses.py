import numpy as np
import pytest

from flag3d_exp.data.demo.poses import (
    REST,
    Posture,
    both,
    in_turn,
    left,
    mirrored_pose,
    right,
    through,
)
from flag3d_exp.data.demo.postures import ALL_FOURS, KNEES, ON_LEFT_SIDE, ON_RIGHT_SIDE, STAND

SWAPPED = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 20, 23, 24]
SWAPPED += [21, 22, 25, 27, 26, 29, 28]
POSE = {"twist": 20.0, "side": 8.0, "turn": -30.0} | left(arm=40, arm_plane=70, elbow=30, leg=25)


def at(motion, *parts: float, reach: float = 1.0) -> dict[str, np.ndarray]:
    phase = 2 * np.pi * np.array(parts)
    return motion(phase, np.full(len(parts), reach))


def test_a_mirrored_pose_is_the_mirror_image():
    points, image = (STAND | POSE).points(), (STAND | mirrored_pose(POSE)).points()
    np.testing.assert_allclose(image, points[SWAPPED] * (-1, 1, 1), atol=1e-12)
    assert mirrored_pose(mirrored_pose(POSE)) == POSE


def test_the_left_side_is_the_mirror_image_of_the_right():
    points, image = ON_RIGHT_SIDE.points(), ON_LEFT_SIDE.points()
    np.testing.assert_allclose(image, points[SWAPPED] * (-1, 1, 1), atol=1e-12)


def test_a_motion_passes_through_its_poses():
    motion = through(Posture(both(knee=10)), [REST, both(knee=50), right(knee=90)])
    angles = at(motion, 0, 1 / 3, 2 / 3, 1)
    np.testing.assert_allclose(angles["left_knee"], [10, 50, 10, 10], atol=1e-9)
    np.testing.assert_allclose(angles["right_knee"], [10, 50, 90, 10], atol=1e-9)


def test_a_motion_bends_no_further_than_its_poses_and_keeps_still_between_equal_ones():
    motion = through(Posture({}), [REST, left(knee=30), left(knee=80), left(knee=80)])
    knee = at(motion, *np.linspace(0, 1, 101))["left_knee"]
    assert knee.min() >= -1e-9 and knee.max() <= 80 + 1e-9
    np.testing.assert_allclose(knee[50:76], 80)
    assert (np.diff(knee[:51]) > -1e-9).all()


def test_four_poses_around_a_circle_are_nearly_one():
    corners = [{"nod": 10.0}, {"side": 10.0}, {"nod": -10.0}, {"side": -10.0}]
    angles = at(through(Posture({}), corners), *np.linspace(0, 1, 41))
    radius = np.hypot(angles["nod"], angles["side"])
    assert radius.min() > 8.5 and radius.max() < 11


def test_half_the_range_is_half_way_from_the_posture():
    motion = through(Posture(both(knee=10)), [REST, both(knee=50)])
    assert at(motion, 0.5, reach=0.5)["left_knee"] == pytest.approx(30)


def test_the_second_half_of_a_motion_in_turn_mirrors_the_first():
    motion = through(STAND, in_turn(REST, POSE))
    first, second = at(motion, 0.1, 0.3, 0.4), at(motion, 0.6, 0.8, 0.9)
    assert first.keys() == second.keys()
    for name, angle in mirrored_pose(first).items():
        np.testing.assert_allclose(second[name], angle, atol=1e-9)


def test_a_posture_is_level_on_what_bears_it():
    points = ALL_FOURS.borne_by((6,), KNEES).points()
    assert points[6, 2] == pytest.approx(points[[13, 17], 2].mean())
