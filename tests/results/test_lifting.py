"""Errors of lifted joints: what each of them sees and what it does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flag3d_exp.data.augment.bodies import rotations
from flag3d_exp.results import lifting

ROOT = np.array([1.0, 0, 0, 0, 0])


def pose(seed: int = 0, num_frames: int = 4) -> np.ndarray:
    """(T, 5, 3)."""
    return np.random.default_rng(seed).normal(size=(num_frames, 5, 3))


def found(predicted, true, counted=None) -> dict[str, float]:
    counted = np.ones(true.shape[:-1], bool) if counted is None else counted
    errors = lifting.joint_errors(predicted, true, counted, ROOT)
    means = lifting.means(lifting.sums(errors[None]).sum((0, 1)))
    return dict(zip(lifting.METRICS, means.tolist(), strict=True))


def test_the_mean_distance_from_the_root_is_that_worked_out_by_hand():
    true = np.zeros((2, 5, 3))
    true[:, 1:, 0] = [1, 2, 3, 4]
    predicted = true + 7  # where the root is does not matter
    predicted[1, 2] += [3, 4, 0]  # 5 away, in the second frame
    errors = found(predicted, true)
    assert errors["mpjpe"] == pytest.approx(5 / 10)
    assert errors["mpjve"] == pytest.approx(5 / 5)  # of the one change


def test_the_best_scale_is_that_worked_out_by_hand():
    true = np.zeros((1, 5, 3))
    true[0, 1:, 0] = [1, 1, 1, 1]
    predicted = np.zeros((1, 5, 3))
    predicted[0, 1:, 0] = [1, 1, 3, 3]
    # scale (1 + 1 + 3 + 3) / (1 + 1 + 9 + 9) = 0.4: distances 0.6, 0.6, 0.2, 0.2
    assert found(predicted, true)["n_mpjpe"] == pytest.approx(1.6 / 5)
    assert found(predicted, true)["mpjpe"] == pytest.approx(4 / 5)


@given(st.integers(0, 10_000), st.floats(0.2, 5), st.floats(-3.1, 3.1))
def test_a_similarity_leaves_pa_at_0_and_a_scale_n_mpjpe(seed, scale, angle):
    true = pose(seed)
    axis = np.random.default_rng(seed).normal(size=(1, 3))
    turn = rotations(axis / np.linalg.norm(axis), np.array([angle]))[0]
    errors = found(scale * true @ turn.T + [3.0, -2.0, 1.0], true)
    assert errors["pa_mpjpe"] == pytest.approx(0, abs=1e-9)
    assert found(scale * true, true)["n_mpjpe"] == pytest.approx(0, abs=1e-9)
    assert found(true + 5, true)["mpjpe"] == pytest.approx(0, abs=1e-9)


def test_a_mirror_image_is_an_error_to_all_of_them():
    true = pose()
    errors = found(true * [-1, 1, 1], true)
    assert min(errors.values()) > 0.1


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_what_may_be_fitted_makes_squared_errors_no_larger(first, second):
    true, predicted = pose(first), pose(second)
    own, known = lifting.relative(predicted, ROOT), lifting.relative(true, ROOT)
    weights = np.ones((4, 5, 1))

    def squares(joints):
        return np.square(joints - known).sum()

    assert squares(lifting.aligned_joints(own, known, weights)) <= squares(own) + 1e-9
    assert squares(lifting.scaled_joints(own, known, weights)) <= squares(own) + 1e-9


def test_a_joint_that_is_not_measured_changes_nothing():
    true, predicted = pose(1), pose(2)
    counted = np.ones((4, 5), bool)
    counted[:, 4] = False
    errors = found(predicted, true, counted)
    predicted[:, 4], true[:, 4] = 100, 0
    assert found(predicted, true, counted) == errors


def test_frames_without_a_root_or_with_few_joints_do_not_count():
    true, predicted = pose(1), pose(2)
    counted = np.ones((4, 5), bool)
    counted[0, 0] = False  # the root
    counted[1, 3:] = False  # three joints are left
    errors = lifting.joint_errors(predicted, true, counted, ROOT)
    assert np.isnan(errors[0]).all()
    assert np.isfinite(errors[1, :3, 0]).all() and np.isnan(errors[1, :, 1]).all()
    assert np.isnan(errors[1, :, 3]).all()  # the frame before did not count
    totals = lifting.sums(errors[None])
    assert totals.shape == (1, 5, 8)
    np.testing.assert_array_equal(totals[0, :, 4], [3, 3, 3, 2, 2])
    assert np.isnan(lifting.means(lifting.sums(np.full((1, 4, 5, 4), np.nan)))).all()


def test_a_table_has_the_means_of_all_of_each_joint_and_of_each_class():
    errors = np.array([[[1.0], [3.0]], [[5.0], [np.nan]]])  # two recordings, two joints
    rows = lifting.error_table(errors, np.array([0, 2]), ["a", "b"], ["mpjpe"], ["x", "y", "z"])
    assert [(row["of"], row["name"], row["mpjpe"]) for row in rows] == [
        ("all", "all", 3.0),
        ("joint", "a", 3.0),
        ("joint", "b", 3.0),
        ("class", "x", 2.0),
        ("class", "z", 5.0),
    ]
