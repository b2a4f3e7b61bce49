"""Bodies that were not recorded: what is exchanged, what stays, what is lost."""

import numpy as np
import pytest

from flag3d_exp.data.augment.bodies import (
    ATTACHED,
    BENDING,
    Bodies,
    parts,
    rotations,
    turned_vectors,
)
from flag3d_exp.skeletons.layout import load_layout

LAYOUT = load_layout("nturgb+d")
OFF = {"probability": 1, "limbs": 0, "lengths": 0, "turn": 0, "tilt": 0, "mirror": 0}
NONE = Bodies(**OFF)


def batch(num_clips: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Joints (N, 1, 5, 25, 3) and that all are there."""
    made = np.random.default_rng(0).normal(size=(num_clips, 1, 5, 25, 3)).astype(np.float32)
    return made, np.ones(made.shape[:-1], bool)


def lengths(joints: np.ndarray) -> np.ndarray:
    """(..., V) of bones; 0 at the root."""
    starts = [p if p >= 0 else joint for joint, p in enumerate(LAYOUT.parents)]
    return np.linalg.norm(joints - joints[..., starts, :], axis=-1)


def test_switched_off_it_changes_nothing():
    joints, there = batch()
    made, found = NONE(joints, there, LAYOUT, np.random.default_rng(0))
    np.testing.assert_allclose(made, joints, atol=1e-5)
    assert found.all()


def test_limbs_are_those_below_shoulders_and_hips():
    names = [{LAYOUT.joints[joint] for joint in limb} for limb in parts(LAYOUT, ATTACHED)]
    assert names[2] == {"left knee", "left ankle", "left foot"}
    assert "left elbow" in names[0] and "left shoulder" not in names[0]
    assert {LAYOUT.joints[j] for j in parts(LAYOUT, BENDING)[3]} == {"right ankle", "right foot"}


def test_an_exchanged_limb_is_another_clip_s_from_the_own_shoulder_on():
    joints, there = batch(2)
    changed = Bodies(**OFF | {"limbs": 1})
    made, _ = changed(joints, there, LAYOUT, np.random.default_rng(1))
    arm, shoulder = parts(LAYOUT, ATTACHED)[0], LAYOUT.joint_number("left shoulder")
    np.testing.assert_allclose(made[..., shoulder, :], joints[..., shoulder, :], atol=1e-5)
    own = made[0][..., arm, :] - made[0][..., [shoulder], :]
    known = [one[..., arm, :] - one[..., [shoulder], :] for one in joints]
    assert min(np.abs(own - one).max() for one in known) < 1e-5


@pytest.mark.parametrize("settings", [{"turn": 40}, {"tilt": 40}, {"mirror": 1}])
def test_turns_and_mirrors_keep_lengths(settings):
    joints, there = batch()
    made, found = Bodies(**OFF | settings)(joints, there, LAYOUT, np.random.default_rng(0))
    order = LAYOUT.mirror_order if "mirror" in settings else np.arange(25)
    np.testing.assert_allclose(lengths(made), lengths(joints)[..., order], rtol=1e-3, atol=1e-4)
    assert np.abs(made - joints).max() > 0.1 and found.all()


def test_lengths_change_by_one_ratio_over_a_clip_and_directions_stay():
    joints, there = batch()
    changed = Bodies(**OFF | {"lengths": 1})
    made, _ = changed(joints, there, LAYOUT, np.random.default_rng(0))
    with np.errstate(invalid="ignore"):
        ratios = lengths(made) / lengths(joints)  # (N, 1, 5, V)
    ratios = np.delete(ratios, LAYOUT.parents.index(-1), axis=-1)
    np.testing.assert_allclose(ratios, np.broadcast_to(ratios[:, :, :1], ratios.shape), rtol=1e-3)
    assert np.ptp(ratios) > 0.01


def test_a_joint_is_lost_with_those_on_its_way_from_the_root():
    joints, there = batch(1)
    knee, foot = LAYOUT.joint_number("left knee"), LAYOUT.joint_number("left foot")
    there[0, 0, 2, knee] = False
    made, found = NONE(joints * there[..., None], there, LAYOUT, np.random.default_rng(0))
    assert not found[0, 0, 2, [knee, foot]].any() and found[0, 0, 2].sum() == 22
    assert found[0, 0, [0, 1, 3, 4]].all()
    assert not made[0, 0, 2, [knee, foot]].any()


def test_the_same_generator_makes_the_same_bodies():
    joints, there = batch()
    first, again = (Bodies()(joints, there, LAYOUT, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])


def test_rotations_turn_by_the_angle_about_the_axis():
    matrices = rotations(np.array([[0.0, 0, 1], [1, 0, 0]]), np.radians([90, 180]))
    vectors = np.array([[[1.0, 0, 0]], [[0, 1, 0]]])
    np.testing.assert_allclose(
        turned_vectors(vectors, matrices), [[[0, 1, 0]], [[0, -1, 0]]], atol=1e-12
    )


def test_so_many_clips_are_changed_as_asked_for():
    joints, there = batch(400)
    made, _ = Bodies(probability=0.3, mirror=0)(joints, there, LAYOUT, np.random.default_rng(0))
    same = (np.abs(made - joints).max((1, 2, 3, 4)) == 0).mean()
    assert abs(same - 0.7) < 0.07
