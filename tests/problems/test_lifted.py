"""Whole recordings in 3D: frames of windows, axes, units, what is missing."""

from dataclasses import replace

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.camera import VirtualCameras
from flag3d_exp.errors import UserError
from flag3d_exp.problems.lift import Lift
from flag3d_exp.problems.lifted import lifted_recordings, metres_per_pixel, standing
from flag3d_exp.skeletons.layout import load_layout

NTU, COCO = load_layout("nturgb+d"), load_layout("coco")


def problem(up: str = "z", **settings) -> Lift:
    camera = VirtualCameras("nturgb+d", "coco", up=up, key="problem.camera")
    return Lift("nturgb+d", clip_len=8, camera=camera, bodies=None, **settings)


def body() -> np.ndarray:
    """(25, 3) metres to the right, down and ahead of the root."""
    made = np.random.default_rng(0).normal(size=(25, 3))
    made[0] = 0
    return made


def still(keypoints: np.ndarray) -> np.ndarray:
    """A network that always sees the same body."""
    return np.broadcast_to(body(), (*keypoints.shape[:2], 25, 3)).astype(np.float32)


def one_lifted(recording: Recording, *given, **named) -> Recording:
    (made,) = lifted_recordings([recording], *given, **named)
    return made


def seen_from_far(num_frames: int = 20, layout: str = "nturgb+d") -> Recording:
    """That body, moving 2 pixels to the right in each frame; 100 pixels are a metre."""
    places = 300 + 100 * np.broadcast_to(body()[:, :2], (1, num_frames, 25, 2)).copy()
    places[..., 0] += 2 * np.arange(num_frames)[:, None]
    return Recording("x", 3, places.astype(np.float32), image_shape=(480, 640), subject="s")


def test_a_body_that_is_seen_from_far_is_where_it_was_and_moves_as_it_did():
    settings = Lift("nturgb+d", clip_len=8, bodies=None)
    made = one_lifted(seen_from_far(), NTU, settings, still, hop=3)
    assert (made.name, made.label, made.subject, made.image_shape) == ("x", 3, "s", None)
    joints = made.keypoints
    assert joints.shape == (1, 20, 25, 3) and joints.dtype == np.float32
    from_root = joints - joints[:, :, :1]
    right, down, ahead = body().T
    np.testing.assert_allclose(from_root[0, 5], np.stack([right, ahead, -down], axis=-1), atol=1e-4)
    np.testing.assert_allclose(np.diff(joints[0, :, 0, 0]), 0.02, atol=1e-5)
    assert joints[..., 2].min() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("up", "axis"), [("x", 0), ("y", 1), ("z", 2)])
def test_the_upward_axis_is_that_of_the_training_and_nothing_is_mirrored(up, axis):
    joints = np.random.default_rng(1).normal(size=(1, 3, 25, 3))
    made = standing(joints, np.ones((1, 3, 25), bool), up)
    heights = made[..., axis]
    np.testing.assert_allclose(heights - heights.min(), joints[..., 1].max() - joints[..., 1])
    before, after = (one[0, 0, 1:4] - one[0, 0, 0] for one in (joints, made))
    assert np.linalg.det(after) == pytest.approx(np.linalg.det(before))


def test_lengths_are_in_the_unit_of_the_training():
    metres = one_lifted(seen_from_far(), NTU, Lift("nturgb+d", clip_len=8), still, 4)
    small = one_lifted(
        seen_from_far(), NTU, Lift("nturgb+d", clip_len=8, unit="millimetres"), still, 4
    )
    np.testing.assert_allclose(small.keypoints, 1000 * metres.keypoints, rtol=1e-5)


def test_what_is_missing_in_2d_is_missing_in_3d_and_what_the_layout_lacks_is_there():
    places = np.random.default_rng(0).uniform(10, 400, (2, 12, 17, 2)).astype(np.float32)
    knee = COCO.joint_number("left knee")
    places[0, 4, knee] = 0
    scores = np.full((2, 12, 17), 0.5, np.float32)
    scores[0, 5, knee] = 0.05
    scores[0, 6] = 0  # nobody is seen
    places[1] = 0  # nor is there a second person
    recording = Recording("x", 0, places, scores)
    made = one_lifted(recording, COCO, problem(), still, 4, score_threshold=0.1)
    there = made.keypoints.any(-1)
    mine, hand = NTU.joint_number("left knee"), NTU.joint_number("left hand")
    np.testing.assert_array_equal((~there[0, :, mine]).nonzero()[0], [4, 5, 6])
    np.testing.assert_array_equal((~there[0, :, hand]).nonzero()[0], [6])
    assert not there[1].any()
    np.testing.assert_array_equal(made.scores > 0, there)
    assert made.scores[0, 0, hand] == pytest.approx(0.5)


def test_a_recording_shorter_than_a_window_is_lifted():
    made = one_lifted(seen_from_far(3), NTU, Lift("nturgb+d", clip_len=8), still, 4)
    assert made.keypoints.shape == (1, 3, 25, 3) and made.keypoints.any(-1).all()


def test_the_middle_of_a_window_counts_most():
    def numbered(keypoints: np.ndarray) -> np.ndarray:
        joints = still(keypoints).copy()
        joints[:, :, 1, 0] += np.arange(len(joints))[:, None]  # each window says another thing
        return joints

    settings = Lift("nturgb+d", clip_len=8)
    made = one_lifted(seen_from_far(12), NTU, settings, numbered, hop=4).keypoints[0]
    sideways = (made[:, 1] - made[:, 0])[:, 0] - body()[1, 0]
    np.testing.assert_allclose(sideways[[0, 3]], 0, atol=1e-4)
    np.testing.assert_allclose(sideways[[8, 11]], 1, atol=1e-4)
    np.testing.assert_allclose(sideways[4:8], [1 / 5, 2 / 5, 3 / 5, 4 / 5], atol=1e-4)


def test_the_scale_is_that_worked_out_by_hand():
    places = np.array([[[100.0, 0], [0, 200]]])
    joints = np.array([[[1.0, 0, 9], [0, 2, 9]]])
    seen = np.ones((1, 2), bool)
    assert metres_per_pixel(places, joints, seen) == pytest.approx(0.01)
    assert metres_per_pixel(0 * places, joints, seen) == 0


def test_a_layout_without_the_joints_of_the_training_is_refused():
    with pytest.raises(UserError, match="lacks base of spine.*a layout with hips"):
        problem().check_input(load_layout("handmp"))
    with pytest.raises(
        UserError, match=r"lacks .*train a network with `problem\.camera\.layout=coco`"
    ):
        replace(problem(), camera=None).check_input(COCO)  # which has no hands
    problem().check_input(COCO)
    problem().check_input(load_layout("body25"))


def test_each_of_many_recordings_is_lifted_as_if_alone():
    settings = Lift("nturgb+d", clip_len=8)
    many = [replace(seen_from_far(count), name=str(count)) for count in (3, 8, 9, 30)] * 40

    def copied(keypoints: np.ndarray) -> np.ndarray:
        return keypoints

    made = list(lifted_recordings(many, NTU, settings, copied, 4))
    assert [one.name for one in made] == [one.name for one in many]
    for one, alone in zip(made[-4:], many, strict=False):
        np.testing.assert_array_equal(
            one.keypoints, one_lifted(alone, NTU, settings, copied, 4).keypoints
        )
