"""Completing a recording: what is known of it, where it goes on, what stays as it was."""

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.errors import UserError
from flag3d_exp.problems.completion import Completion
from flag3d_exp.problems.generate import Generate

PROBLEM = Generate("coco", 3, texts="none", clip_len=11)


def recording(num_frames: int = 21) -> Recording:
    """Somebody who walks along a curve and waves."""
    times = np.linspace(0, 1, num_frames)
    body = np.random.default_rng(0).uniform(0.2, 1.6, size=(17, 3))
    for left in range(1, 17, 2):
        body[left, 0], body[left + 1, 0] = -0.3, 0.3
    keypoints = np.tile(body, (num_frames, 1, 1))
    keypoints[:, 9, 2] += np.sin(6 * times)
    keypoints += np.stack([times**2, 2 * times, 0 * times], -1)[:, None] + 5
    return Recording("walk", 0, keypoints[None].astype(np.float32))


def test_a_gap_s_features_are_unknown_and_the_step_out_of_it_too():
    found = Completion.of(recording(), PROBLEM, (0.35, 0.65), 1.0)
    assert found.length == 21
    there = found.known[:, 0]
    np.testing.assert_array_equal(np.flatnonzero(~there), [4, 5, 6])  # of 0, 0.1, ..., 1
    np.testing.assert_array_equal(np.flatnonzero(~found.known[:, -3]), [4, 5, 6, 7])
    np.testing.assert_array_equal(found.known[:, -1], there)  # the height
    np.testing.assert_array_equal(np.setdiff1d(np.arange(21), found.frames), range(7, 14))


def test_after_the_end_everything_is_unknown():
    found = Completion.of(recording(), PROBLEM, (0, 0), 2.0)
    assert found.length == 42
    np.testing.assert_array_equal(np.flatnonzero(found.known[:, 0]), range(5))
    np.testing.assert_array_equal(found.frames, range(21))


@pytest.mark.parametrize(("gap", "stretch"), [((0.35, 0.65), 1.0), ((0.0, 0.0), 1.5)])
def test_the_true_features_give_the_recording_back_where_it_was(gap, stretch):
    found = Completion.of(recording(), PROBLEM, gap, stretch)
    made = found.completed_keypoints(found.features, PROBLEM)
    assert made.shape == (found.length, 17, 3)
    real = recording().keypoints[0]
    np.testing.assert_array_equal(made[found.frames], real[found.frames])
    if stretch == 1:
        np.testing.assert_allclose(made, real, atol=0.02)


def test_steps_in_the_gap_lead_to_where_the_recording_goes_on():
    found = Completion.of(recording(), PROBLEM, (0.35, 0.65), 1.0)
    astray = found.features.copy()
    astray[4:8, -3:-1] += [0.4, -0.3]  # away
    joined = found._bridged_features(astray)
    np.testing.assert_allclose(joined[:, -3:-1].sum(0), found.features[:, -3:-1].sum(0), atol=1e-5)
    np.testing.assert_array_equal(joined[:4], astray[:4])
    np.testing.assert_allclose(joined[:, :-3], astray[:, :-3])


def test_what_can_not_be_completed_is_refused_in_a_line():
    flat = Recording("flat", 0, np.ones((1, 9, 17, 2), np.float32))
    with pytest.raises(UserError, match="'flat' is in 2D"):
        Completion.of(flat, PROBLEM, (0.3, 0.6), 1.0)
    other = Recording("other", 0, np.ones((1, 9, 25, 3), np.float32))
    with pytest.raises(UserError, match="'other' has 25 joints"):
        Completion.of(other, PROBLEM, (0.3, 0.6), 1.0)
    with pytest.raises(UserError, match=r"keep the first frame.*they keep 1\."):
        Completion.of(recording(), PROBLEM, (0.05, 1.0), 1.0)
