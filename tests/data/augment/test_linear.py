"""Affine maps, mirror images and axes, worked out by hand."""

import numpy as np
import pytest

from flag3d_exp.data.augment.affine import Affine
from flag3d_exp.data.augment.clip import Clip
from flag3d_exp.data.augment.drop import DropAxis
from flag3d_exp.data.augment.mirror import Mirror
from flag3d_exp.data.augment.recipe import Recipe, recipe
from flag3d_exp.data.poses import Poses
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

COCO, NTU = load_layout("coco"), load_layout("nturgb+d")


class Drawn:
    """A generator that gives what it is told to."""

    def __init__(self, *values):
        self.values = list(values)

    def uniform(self, low, high, size=None):
        share = np.asarray(self.values.pop(0), float)
        return low + (np.asarray(high) - low) * np.broadcast_to(share, np.shape(high) or size)


def clip_of(keypoints, layout, image_shape=None):
    keypoints = np.asarray(keypoints, np.float32)
    return Clip(Poses(keypoints, np.ones(keypoints.shape[:-1], bool)), layout, image_shape)


def everywhere(point, layout):
    """A clip of one frame whose joints are all at one point."""
    return np.tile(np.float32(point), (1, 1, layout.num_joints, 1))


def test_a_quarter_turn_about_the_vertical_axis_turns_x_into_y():
    affine = Affine(rotation=(0.0, 0.0, np.pi / 2))
    turned = affine(clip_of(everywhere([1, 0, 5], NTU), NTU), Drawn(1.0))
    np.testing.assert_allclose(turned.poses.keypoints[0, 0, 0], [0, 1, 5], atol=1e-6)


def test_scale_acts_before_shear():
    matrix = Affine(scale=0.5, shear=0.2).matrix(2, Drawn(1.0, 1.0))
    np.testing.assert_allclose(matrix, np.array([[1, 0.2], [0.2, 1]]) @ np.diag([1.5, 1.5]))


def test_pixels_are_scaled_about_the_middle_of_their_image():
    affine = Affine(scale=0.5)
    scaled = affine(clip_of(everywhere([60, 20], COCO), COCO, (40, 80)), Drawn(1.0))
    np.testing.assert_allclose(scaled.poses.keypoints[0, 0, 0], [70, 20])


def test_a_mirror_image_exchanges_sides_in_space_and_in_pixels():
    points = np.zeros((1, 1, 17, 2))
    points[..., 0] = np.arange(1, 18)
    left, right = COCO.joint_number("left wrist"), COCO.joint_number("right wrist")
    mirror, rng = Mirror(1.0), np.random.default_rng(0)
    assert mirror(clip_of(points, COCO), rng).poses.keypoints[0, 0, left, 0] == -(right + 1)
    flipped = mirror(clip_of(points, COCO, (40, 80)), rng).poses.keypoints
    assert flipped[0, 0, left, 0] == 80 - (right + 1)


def test_a_dropped_axis_is_zero_and_no_joint_goes_missing():
    clip = clip_of(everywhere([1, 2, 3], NTU), NTU)
    axes = set()
    for seed in range(20):
        changed = DropAxis(1.0)(clip, np.random.default_rng(seed)).poses
        assert changed.visible.all()
        zero = (changed.keypoints == 0).all((0, 1, 2))
        assert zero.sum() == 1
        axes.add(int(zero.argmax()))
    assert axes == {0, 1, 2}


def test_what_is_for_other_coordinates_is_refused_unless_it_is_off():
    recipe([DropAxis(0.0)]).check_fit(2)
    with pytest.raises(UserError, match="DropAxis is for 3 coordinates; this dataset has 2"):
        recipe([DropAxis(0.5)]).check_fit(2)


def test_an_angle_for_each_axis_is_refused_in_2d():
    turned = recipe([Affine((0.1, 0.1, 3.0))])
    turned.check_fit(3)
    with pytest.raises(UserError, match=r"one angle for 2 coordinates.*; got \[0.1, 0.1, 3.0\]"):
        turned.check_fit(2)
    recipe([Affine(0.3)]).check_fit(2)


def test_mirroring_is_doubted_where_classes_name_one_side():
    classes = ["Jump Left and Right", "Squat", "Right Leg Reverse Lunge"]
    (doubt,) = recipe([Mirror(0.5)]).doubts(classes)
    assert "classes name a side: 1, such as 'Right Leg Reverse Lunge'" in doubt
    assert not recipe([Mirror(0.5)]).doubts(classes[:2])
    assert not recipe([Mirror(0.0)]).doubts(classes)


def test_a_recipe_sorts_its_augmentations_and_refuses_what_is_none():
    steps = {"mirror": Mirror(0.5), "affine": None}
    assert recipe(steps) == Recipe(clips=(Mirror(0.5),))
    with pytest.raises(UserError, match="`augment.mirror` must be an augmentation"):
        recipe({"mirror": 0.5})
