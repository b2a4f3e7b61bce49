"""Motion features: joints come back, and a turn or a step of the whole person changes nothing."""

import numpy as np
import pytest

from flag3d_exp.data.roots import root_weights
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.skeletons.motion import (
    around_mean,
    filled_joints,
    heading,
    joints_of,
    motion,
    num_features,
    returned_joints,
    turned_joints,
)

NTU = load_layout("nturgb+d")
ROOT = root_weights(NTU)


def clips() -> np.ndarray:
    """(2, 6, 25, 3) joints of somebody who turns and moves, with the right side to the right."""
    rng = np.random.default_rng(0)
    still = rng.uniform(-0.3, 0.3, size=(2, 1, 25, 3))
    for left, right in NTU.mirror_pairs:
        still[:, :, left, 0], still[:, :, right, 0] = -0.4, 0.4
    made = still + 0.05 * rng.standard_normal((2, 6, 25, 3))
    return made + np.linspace([0, 0, 1], [0.5, 1, 1.2], 6)[:, None]


def everything(joints: np.ndarray) -> np.ndarray:
    return np.ones(joints.shape[:-1], bool)


def test_joints_of_a_motion_are_the_clip_again_where_it_was():
    joints = turned_joints(clips(), np.array([0.7, -2.0])) + [3.0, -1.0, 0.5]
    found = motion(joints, everything(joints), NTU, ROOT)
    assert found.features.shape == (2, 6, num_features(NTU)) == (2, 6, 78)
    made = returned_joints(joints_of(found.features), found.headings, found.origins)
    np.testing.assert_allclose(made, joints, atol=1e-5)


def test_features_do_not_depend_on_where_somebody_is_nor_on_the_direction():
    first = motion(clips(), everything(clips()), NTU, ROOT)
    moved = turned_joints(clips(), np.array([1.0, 2.5])) + [4.0, 5.0, -1.0]
    second = motion(moved, everything(moved), NTU, ROOT)
    np.testing.assert_allclose(second.features, first.features, atol=1e-5)


def test_somebody_who_faces_ahead_has_a_heading_of_0():
    joints = np.zeros((25, 3))
    for side, x in (("left", -0.2), ("right", 0.2)):
        for joint in ("hip", "shoulder"):
            number = NTU.joint_number(f"{side} {joint}")
            assert number is not None
            joints[number] = x, 0, 1
    assert heading(joints, NTU) == 0
    assert heading(turned_joints(joints[None], np.array([0.5]))[0], NTU) == pytest.approx(0.5)
    assert heading(np.zeros((25, 3)), NTU) == 0


def test_the_step_and_the_height_of_the_root_are_features():
    joints = np.zeros((1, 3, 25, 3))
    joints[0, :, :, 2] = 1.0
    joints[0, :, NTU.joint_number("left foot"), 2] = 0.25  # the lowest joint
    joints[0, :, :, 1] = np.array([0.0, 0.1, 0.3])[:, None]
    features = motion(joints, everything(joints), NTU, ROOT).features[0]
    np.testing.assert_allclose(features[:, -3:-1], [[0, 0], [0, 0.1], [0, 0.2]], atol=1e-6)
    np.testing.assert_allclose(features[:, -1], 0.75)


def test_a_missing_joint_is_interpolated_and_one_that_is_never_there_is_at_the_root():
    joints = np.zeros((1, 3, 25, 3))
    joints[0, :, 4] = [[1, 0, 0], [9, 9, 9], [3, 0, 0]]
    joints[0, :, 0] = 7  # the root
    there = everything(joints)
    there[0, 1, 4] = False
    there[0, :, 5] = False
    found = filled_joints(joints, there, ROOT)
    np.testing.assert_allclose(found[0, :, 4], [[1, 0, 0], [2, 0, 0], [3, 0, 0]])
    np.testing.assert_allclose(found[0, :, 5], 7)


def test_a_bone_leads_from_each_joint_to_its_parent():
    found = NTU.bones
    assert len(found) == 24
    assert [NTU.joint_number("head"), NTU.joint_number("neck")] in found.tolist()


def test_angles_on_both_sides_of_half_a_turn_are_neighbours():
    angles = around_mean(np.array([3.1, -3.1, 3.0]))
    assert np.ptp(angles) == pytest.approx(2 * np.pi - 6.1, abs=1e-6)
    np.testing.assert_allclose(np.cos(angles), np.cos([3.1, -3.1, 3.0]), atol=1e-9)
