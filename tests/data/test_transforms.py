"""What must hold of the transforms whatever the keypoints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flag3d_exp.data import boxes, transforms
from flag3d_exp.data.poses import Poses
from flag3d_exp.data.transforms import Stream
from flag3d_exp.skeletons.layout import load_layout

LAYOUTS = {name: load_layout(name) for name in ("nturgb+d", "coco", "openpose")}
layouts = st.sampled_from(sorted(LAYOUTS)).map(LAYOUTS.get)
numbers = st.floats(-100, 100, width=32)
angles = arrays(np.float64, 3, elements=st.floats(-3, 3))


@st.composite
def skeletons(draw, channels=3):
    """A layout and keypoints (M, T, V, C) of it."""
    layout = draw(layouts)
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 4)), layout.num_joints, channels)
    return layout, draw(arrays(np.float32, shape, elements=numbers))


def all_visible(keypoints, scores=None):
    return Poses(keypoints, np.ones(keypoints.shape[:-1], bool), scores)


def bones(keypoints, layout):
    return transforms.bones(all_visible(keypoints), layout.parents).keypoints


def mirrored(keypoints, layout):
    return transforms.mirrored_poses(all_visible(keypoints), layout.mirror_order).keypoints


@given(skeletons(), arrays(np.float32, 3, elements=numbers))
def test_bones_ignore_translation(skeleton, offset):
    layout, keypoints = skeleton
    np.testing.assert_allclose(
        bones(keypoints + offset, layout), bones(keypoints, layout), atol=1e-4
    )


@given(skeletons(), arrays(np.float32, 3, elements=numbers))
def test_motion_ignores_translation_and_ends_at_rest(skeleton, offset):
    _, keypoints = skeleton
    moved = transforms.motion(all_visible(keypoints + offset)).keypoints
    at_rest = transforms.motion(all_visible(keypoints)).keypoints
    np.testing.assert_allclose(moved, at_rest, atol=1e-4)
    assert not moved[:, -1].any()


@given(skeletons())
def test_bones_add_up_to_the_joints(skeleton):
    layout, keypoints = skeleton
    vectors = bones(keypoints, layout)
    for joint in range(layout.num_joints):
        chain = [joint]
        while layout.parents[chain[-1]] >= 0:
            chain.append(layout.parents[chain[-1]])
        reached = keypoints[:, :, chain[-1]] + vectors[:, :, chain].sum(2)
        np.testing.assert_allclose(reached, keypoints[:, :, joint], atol=1e-3)


@given(skeletons())
def test_mirroring_twice_is_the_identity(skeleton):
    layout, keypoints = skeleton
    np.testing.assert_array_equal(mirrored(mirrored(keypoints, layout), layout), keypoints)


@given(skeletons())
def test_mirroring_and_taking_bones_commute(skeleton):
    layout, keypoints = skeleton
    np.testing.assert_allclose(
        bones(mirrored(keypoints, layout), layout),
        mirrored(bones(keypoints, layout), layout),
        atol=1e-4,
    )


@given(skeletons(channels=2), st.integers(10, 500))
def test_flipping_pixels_twice_is_the_identity(skeleton, width):
    layout, keypoints = skeleton
    poses = all_visible(np.abs(np.rint(keypoints)) % (width + 1))
    once = boxes.flipped_poses(poses, width, layout.mirror_order)
    twice = boxes.flipped_poses(once, width, layout.mirror_order)
    np.testing.assert_array_equal(twice.keypoints, poses.keypoints)


@given(angles)
def test_rotations_are_orthogonal(angles):
    for matrix in (transforms.rotation(angles), transforms.rotation(angles[:1])):
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)


def test_a_quarter_turn_about_z_takes_x_to_y():
    east = all_visible(np.array([[1.0, 0, 0]]))
    turned = transforms.mapped_poses(east, transforms.rotation(np.array([0, 0, np.pi / 2])))
    np.testing.assert_allclose(turned.keypoints, [[0, 1, 0]], atol=1e-12)


@given(skeletons(), angles)
def test_bone_lengths_survive_rotation(skeleton, angles):
    layout, keypoints = skeleton
    turned = transforms.mapped_poses(all_visible(keypoints), transforms.rotation(angles)).keypoints
    lengths = [np.linalg.norm(bones(joints, layout), axis=-1) for joints in (keypoints, turned)]
    np.testing.assert_allclose(*lengths, atol=2e-3)


@given(skeletons(), angles)
@settings(max_examples=50)
def test_changes_of_joints_and_of_streams_agree(skeleton, angles):
    layout, keypoints = skeleton
    poses = all_visible(keypoints)
    matrix = transforms.rotation(angles) @ np.diag([0.9, 1.1, 1.2])
    for stream in (Stream("bone", bones=True), Stream("bone_motion", bones=True, motion=True)):
        after = transforms.mapped_poses(stream(poses, layout), matrix)
        before = stream(transforms.mapped_poses(poses, matrix), layout)
        np.testing.assert_allclose(after.keypoints, before.keypoints, atol=2e-3)


@given(arrays(np.float32, 3, elements=numbers), st.floats(-3, 3), st.integers(0, 1000))
def test_body_normalisation_ignores_place_and_heading(offset, heading, seed):
    person = np.random.default_rng(seed).normal(size=(1, 3, 25, 3))
    # Upright, with level shoulders: otherwise what the two rotations give depends on the heading.
    person[0, 0, [0, 1, 4, 8]] = [[0.7, 0.7, 0], [0.7, 0.7, 1], [0.2, 0.8, 2], [1.1, 1, 2]]
    turn = transforms.rotation(np.array([0, 0, heading]))
    moved = transforms.mapped_poses(all_visible(person), turn).keypoints + offset
    normalised = [transforms.normalise_body(all_visible(k)).keypoints for k in (moved, person)]
    np.testing.assert_allclose(*normalised, atol=2e-3)


def test_body_normalisation_puts_spine_up_and_shoulders_along_x():
    person = np.random.default_rng(1).normal(size=(1, 2, 25, 3))
    joints = transforms.normalise_body(all_visible(person)).keypoints[0, 0]
    np.testing.assert_allclose(joints[1], 0, atol=1e-6)
    # The shoulders are turned last, so the line that is exactly along its axis is theirs.
    shoulders = joints[8] - joints[4]
    np.testing.assert_allclose(shoulders / np.linalg.norm(shoulders), [1, 0, 0], atol=1e-6)


def test_scores_of_bones_and_motions_are_means():
    scores = np.array([[np.arange(17), np.arange(17) + 1]], np.float32)  # (1, 2, 17)
    poses = all_visible(np.zeros((1, 2, 17, 2), np.float32), scores)
    parents = LAYOUTS["coco"].parents
    found = transforms.bones(poses, parents).scores
    np.testing.assert_array_equal(found[0, 0], (np.arange(17) + np.maximum(parents, 0)) / 2)
    found = transforms.motion(poses).scores
    np.testing.assert_array_equal(found[0], [np.arange(17) + 0.5, np.zeros(17)])


def test_persons_are_cut_or_filled_with_missing_ones():
    poses = all_visible(np.ones((2, 3, 17, 3), np.float32))
    assert poses.with_persons(1).keypoints.shape == (1, 3, 17, 3)
    three = poses.with_persons(3)
    assert three.keypoints[:2].all()
    assert not three.keypoints[2].any() and not three.visible[2].any()


@given(skeletons(channels=2))
def test_transforms_leave_their_arguments_alone(skeleton):
    layout, keypoints = skeleton
    before = keypoints.copy()
    keypoints.flags.writeable = False
    poses = all_visible(keypoints)
    transforms.normalise_box(poses)
    transforms.normalise_image(poses, (480, 854))
    transforms.normalise_center(poses, layout.center)
    transforms.mirrored_poses(poses, layout.mirror_order)
    transforms.mapped_poses(poses, np.eye(2))
    transforms.bones(poses, layout.parents)
    transforms.motion(poses)
    transforms.without_joints(poses, np.arange(layout.num_joints) % 2 == 0)
    boxes.compact(poses, (480, 854))
    boxes.flipped_poses(poses, 480, layout.mirror_order)
    np.testing.assert_array_equal(keypoints, before)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 10**6))
def test_random_crops_lie_in_the_image(height, width, seed):
    rng = np.random.default_rng(seed)
    (x, y), (crop_height, crop_width) = boxes.random_crop(
        (height, width), (0.56, 1), (0.75, 4 / 3), rng
    )
    assert 0 <= x <= x + crop_width <= width
    assert 0 <= y <= y + crop_height <= height
    assert crop_height >= 1
    assert crop_width >= 1


@given(skeletons(channels=2), st.floats(0, 0.5))
def test_the_compact_box_holds_every_visible_joint(skeleton, padding):
    _, keypoints = skeleton
    poses = Poses(np.abs(keypoints) * 3, keypoints.any(-1))
    boxed, shape = boxes.compact(poses, (480, 854), padding)
    if shape == (480, 854):
        np.testing.assert_array_equal(boxed.keypoints, poses.keypoints)
        return
    assert shape[0] == pytest.approx(shape[1], abs=2)
    seen = boxed.keypoints[poses.visible]
    assert seen.min() > -1e-3
    assert seen.max() <= max(shape) + 1


def test_a_joint_is_lost_for_the_whole_clip():
    clip = all_visible(np.ones((1, 4, 5, 3), np.float32), np.ones((1, 4, 5), np.float32))
    dropped = np.array([False, True, False, False, True])
    kept = transforms.without_joints(clip, dropped)
    for array in (kept.keypoints.any((0, 1, 3)), kept.visible.any((0, 1)), kept.scores.any((0, 1))):
        np.testing.assert_array_equal(array, ~dropped)


def test_a_frame_s_own_box_is_that_of_its_visible_joints():
    keypoints = np.array([[[[1, 10], [3, 30], [2, 15]], [[5, 5], [9, 5], [7, 5]]]], np.float32)
    visible = np.array([[[True, True, True], [True, False, True]]])
    made = transforms.normalise_frame(Poses(keypoints, visible)).keypoints  # (1, 2, 3, 2)
    assert made[0, 0].tolist() == [[-1, -1], [1, 1], [0, -0.5]]
    assert made[0, 1].tolist() == [[-1, 0], [0, 0], [1, 0]]  # the second joint is missing
    empty = transforms.normalise_frame(Poses(keypoints, np.zeros_like(visible))).keypoints
    assert not empty.any()


def test_a_frame_s_own_box_forgets_place_size_and_earlier_boxes():
    rng = np.random.default_rng(0)
    keypoints = rng.random((2, 3, 17, 2)).astype(np.float32)
    once = transforms.normalise_frame(all_visible(keypoints)).keypoints
    factors, offsets = rng.random((2, 2, 3, 1, 2)).astype(np.float32)
    moved = transforms.normalise_frame(all_visible(keypoints * (factors + 0.1) + offsets)).keypoints
    np.testing.assert_allclose(moved, once, atol=1e-5)
    assert np.abs(once).max() == pytest.approx(1)
