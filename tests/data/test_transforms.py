"""What must hold of the transforms whatever the keypoints."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flag3d_exp.data import boxes, transforms
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


@given(skeletons(), arrays(np.float32, 3, elements=numbers))
def test_bones_ignore_translation(skeleton, offset):
    layout, keypoints = skeleton
    moved = transforms.bones(keypoints + offset, layout.parents)
    np.testing.assert_allclose(moved, transforms.bones(keypoints, layout.parents), atol=1e-4)


@given(skeletons(), arrays(np.float32, 3, elements=numbers))
def test_motion_ignores_translation_and_ends_at_rest(skeleton, offset):
    _, keypoints = skeleton
    moved = transforms.motion(keypoints + offset)
    np.testing.assert_allclose(moved, transforms.motion(keypoints), atol=1e-4)
    assert not moved[:, -1].any()


@given(skeletons())
def test_bones_add_up_to_the_joints(skeleton):
    layout, keypoints = skeleton
    bones = transforms.bones(keypoints, layout.parents)
    for joint in range(layout.num_joints):
        chain = [joint]
        while layout.parents[chain[-1]] >= 0:
            chain.append(layout.parents[chain[-1]])
        reached = keypoints[:, :, chain[-1]] + bones[:, :, chain].sum(2)
        np.testing.assert_allclose(reached, keypoints[:, :, joint], atol=1e-3)


@given(skeletons())
def test_mirroring_twice_is_the_identity(skeleton):
    layout, keypoints = skeleton
    once = transforms.mirrored(keypoints, layout.mirror_order)
    np.testing.assert_array_equal(transforms.mirrored(once, layout.mirror_order), keypoints)


@given(skeletons())
def test_mirroring_and_taking_bones_commute(skeleton):
    layout, keypoints = skeleton
    mirrored = transforms.mirrored(keypoints, layout.mirror_order)
    bones = transforms.bones(keypoints, layout.parents)
    np.testing.assert_allclose(
        transforms.bones(mirrored, layout.parents),
        transforms.mirrored(bones, layout.mirror_order),
        atol=1e-4,
    )


@given(skeletons(channels=2), st.integers(10, 500))
def test_flipping_pixels_twice_is_the_identity(skeleton, width):
    layout, keypoints = skeleton
    keypoints = (
        np.abs(np.rint(keypoints)) % (width - 1) + 1
    )  # missing would be 0, as is the far edge
    once = boxes.flipped(keypoints, width, layout.mirror_order)
    np.testing.assert_array_equal(boxes.flipped(once, width, layout.mirror_order), keypoints)


@given(angles)
def test_rotations_are_orthogonal(angles):
    for matrix in (transforms.rotation(angles), transforms.rotation(angles[:1])):
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1)


def test_a_quarter_turn_about_z_takes_x_to_y():
    turned = transforms.mapped(
        np.array([[1.0, 0, 0]]), transforms.rotation(np.array([0, 0, np.pi / 2]))
    )
    np.testing.assert_allclose(turned, [[0, 1, 0]], atol=1e-12)


@given(skeletons(), angles)
def test_bone_lengths_survive_rotation(skeleton, angles):
    layout, keypoints = skeleton
    turned = transforms.mapped(keypoints, transforms.rotation(angles))
    lengths = [
        np.linalg.norm(transforms.bones(joints, layout.parents), axis=-1)
        for joints in (keypoints, turned)
    ]
    np.testing.assert_allclose(*lengths, atol=2e-3)


@given(skeletons(), angles)
@settings(max_examples=50)
def test_changes_of_joints_and_of_streams_agree(skeleton, angles):
    layout, keypoints = skeleton
    matrix = transforms.rotation(angles) @ np.diag([0.9, 1.1, 1.2])
    for stream in (Stream("bone", bones=True), Stream("bone_motion", bones=True, motion=True)):
        after = transforms.mapped(stream(keypoints, layout, False), matrix)
        before = stream(transforms.mapped(keypoints, matrix), layout, False)
        np.testing.assert_allclose(after, before, atol=2e-3)


@given(arrays(np.float32, 3, elements=numbers), st.floats(-3, 3), st.integers(0, 1000))
def test_body_normalisation_ignores_place_and_heading(offset, heading, seed):
    person = np.random.default_rng(seed).normal(size=(1, 3, 25, 3))
    # Upright, with level shoulders: otherwise what the two rotations give depends on the heading.
    person[0, 0, [0, 1, 4, 8]] = [[0.7, 0.7, 0], [0.7, 0.7, 1], [0.2, 0.8, 2], [1.1, 1, 2]]
    turn = transforms.rotation(np.array([0, 0, heading]))
    moved = transforms.mapped(person, turn) + offset
    np.testing.assert_allclose(
        transforms.normalise_body(moved), transforms.normalise_body(person), atol=2e-3
    )


def test_body_normalisation_puts_spine_up_and_shoulders_along_x():
    person = np.random.default_rng(1).normal(size=(1, 2, 25, 3))
    joints = transforms.normalise_body(person)[0, 0]
    np.testing.assert_allclose(joints[1], 0, atol=1e-6)
    # The shoulders are turned last, so the line that is exactly along its axis is theirs.
    shoulders = joints[8] - joints[4]
    np.testing.assert_allclose(shoulders / np.linalg.norm(shoulders), [1, 0, 0], atol=1e-6)


def test_scores_of_bones_and_motions_are_means():
    keypoints = np.zeros((1, 2, 17, 3), np.float32)
    keypoints[0, :, :, 2] = [np.arange(17), np.arange(17) + 1]
    parents = LAYOUTS["coco"].parents
    scores = transforms.bones(keypoints, parents, scored=True)[..., 2]
    np.testing.assert_array_equal(scores[0, 0], (np.arange(17) + np.maximum(parents, 0)) / 2)
    scores = transforms.motion(keypoints, scored=True)[..., 2]
    np.testing.assert_array_equal(scores[0], [np.arange(17) + 0.5, np.zeros(17)])


def test_persons_are_cut_or_filled_with_zeros():
    keypoints = np.ones((2, 3, 17, 3), np.float32)
    assert transforms.with_persons(keypoints, 1).shape == (1, 3, 17, 3)
    three = transforms.with_persons(keypoints, 3)
    assert three[:2].all()
    assert not three[2].any()


@given(skeletons(channels=2))
def test_transforms_leave_their_arguments_alone(skeleton):
    layout, keypoints = skeleton
    before = keypoints.copy()
    keypoints.flags.writeable = False
    transforms.normalise_box(keypoints, None)
    transforms.normalise_image(keypoints, None, (480, 854))
    transforms.mirrored(keypoints, layout.mirror_order)
    transforms.mapped(keypoints, np.eye(2))
    transforms.bones(keypoints, layout.parents)
    transforms.motion(keypoints)
    boxes.compact(keypoints, (480, 854))
    boxes.flipped(keypoints, 480, layout.mirror_order)
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
def test_the_compact_box_holds_every_joint_seen(skeleton, padding):
    _, keypoints = skeleton
    keypoints = np.abs(keypoints) * 3
    boxed, shape = boxes.compact(keypoints, (480, 854), padding)
    if shape == (480, 854):
        np.testing.assert_array_equal(boxed, keypoints)
        return
    assert shape[0] == pytest.approx(shape[1], abs=2)
    seen = boxed[keypoints != 0]
    assert seen.min() > -1e-3
    assert seen.max() <= max(shape) + 1


def test_a_joint_is_lost_for_the_whole_clip():
    clip = np.ones((1, 4, 5, 3), np.float32)
    dropped = np.array([False, True, False, False, True])
    kept = transforms.without_joints(clip, dropped).any((0, 1, 3))
    np.testing.assert_array_equal(kept, ~dropped)
