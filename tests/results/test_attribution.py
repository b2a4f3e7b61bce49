import numpy as np
import pytest

from flag3d_exp.results import attribution

CLIPS = np.random.default_rng(0).normal(size=(2, 1, 6, 4, 3)).astype(np.float32)
WEIGHTS = np.array([0.0, 3.0, -1.0, 0.5], np.float32)[:, None] * np.ones(3, np.float32)
# What a joint does at one moment counts, so that standing still and moving differ.
MOMENT = np.sin(np.arange(6, dtype=np.float32))[:, None, None]


def log_score(clips: np.ndarray) -> np.ndarray:
    return (clips * MOMENT * WEIGHTS).sum(axis=(1, 2, 3, 4))


def gradient(clips: np.ndarray) -> np.ndarray:
    return np.broadcast_to(MOMENT * WEIGHTS, clips.shape)


def score(clips: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_score(clips)))


def test_frozen_joints_stand_at_their_mean_and_others_move_on():
    held = attribution.frozen(CLIPS, [1, 3])
    np.testing.assert_allclose(
        held[:, :, :, 1], np.repeat(CLIPS[:, :, :, 1].mean(2)[:, :, None], 6, 2)
    )
    np.testing.assert_array_equal(held[:, :, :, [0, 2]], CLIPS[:, :, :, [0, 2]])


def test_attributions_add_up_to_what_motion_adds_to_the_score():
    found = attribution.integrated_gradients(gradient, CLIPS, 5)
    assert found.shape == (6, 4)
    still = attribution.frozen(CLIPS, range(4))
    added = (log_score(CLIPS) - log_score(still)).mean()
    assert found.sum() == pytest.approx(added, rel=1e-4)


def test_curved_scores_add_up_with_enough_steps():
    def curved(clips: np.ndarray) -> np.ndarray:
        return score(clips) * (1 - score(clips))

    def slope(clips: np.ndarray) -> np.ndarray:
        return curved(clips)[:, None, None, None, None] * gradient(clips)

    found = attribution.integrated_gradients(slope, CLIPS, 200)
    still = attribution.frozen(CLIPS, range(4))
    assert found.sum() == pytest.approx((score(CLIPS) - score(still)).mean(), abs=1e-3)


def test_a_joint_without_weight_has_no_attribution():
    found = attribution.integrated_gradients(gradient, CLIPS, 3)
    np.testing.assert_allclose(found[:, 0], 0, atol=1e-7)


def test_a_deletion_curve_runs_from_moving_to_frozen():
    curve = attribution.deletion_curve(score, CLIPS, [2, 0, 1, 3])
    assert curve.shape == (5,)
    assert curve[0] == pytest.approx(score(CLIPS).mean())
    assert curve[-1] == pytest.approx(score(attribution.frozen(CLIPS, range(4))).mean())
    assert curve[1] == curve[2]  # joint 0 has no weight


def test_deleting_what_matters_beats_chance_and_the_reverse_does_not():
    found = attribution.integrated_gradients(gradient, CLIPS, 5)
    check = attribution.check_by_deletion(score, CLIPS, found, num_random=20)
    assert check.is_passed
    assert not attribution.check_by_deletion(score, CLIPS, -found, num_random=20).is_passed


def test_many_clips_are_taken_in_batches_of_one_size():
    sizes = set()

    def watched(clips: np.ndarray) -> np.ndarray:
        sizes.add(len(clips))
        return score(clips)

    attribution.deletion_curve(watched, CLIPS, [0, 1, 2, 3])
    assert sizes == {attribution.BATCH_SIZE}


def test_a_score_that_does_not_change_passes_nothing():
    def constant(clips: np.ndarray) -> np.ndarray:
        return np.full(len(clips), 0.1)

    found = attribution.integrated_gradients(gradient, CLIPS, 2)
    assert not attribution.check_by_deletion(constant, CLIPS, found, num_random=3).is_passed
