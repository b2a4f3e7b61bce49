"""Clips of several paces are joined to a density whose sum is the count."""

import numpy as np
import pytest

from flag3d_exp.errors import UserError
from flag3d_exp.results.density import (
    Density,
    Joining,
    by_pace,
    consensus,
    divided,
    joined_density,
    runs_of,
)

CLIP_LEN = 16


def outputs_of(length, num_frames, pace, first=0, last=None):
    """Outputs and frames of half overlapping clips that find repetitions of `length` frames."""
    starts = np.arange(0, max(1, num_frames - CLIP_LEN * pace + 1), CLIP_LEN * pace // 2)
    frames = (starts[:, None] + pace * np.arange(CLIP_LEN)).astype(float)
    inside = (frames >= first) & (frames < (num_frames if last is None else last))
    logits = np.where(inside, 9.0, -9.0)
    return np.stack([logits, np.full(frames.shape, np.log(length / pace))], -1), frames


def test_each_pace_gets_its_own_row_in_frames_of_the_recording():
    parts = [outputs_of(24, 128, pace) for pace in (1, 2, 4)]
    outputs, frames = (np.concatenate(one) for one in zip(*parts, strict=True))
    logits, log_lengths, paces = by_pace(outputs, frames, 128)
    np.testing.assert_allclose(paces, [1, 2, 4])
    assert logits.shape == log_lengths.shape == (3, 128)
    np.testing.assert_allclose(np.exp(log_lengths[:, 2:-6]), 24, rtol=1e-6)
    np.testing.assert_allclose(logits[:, 2:-6], 9, rtol=1e-6)


def test_the_sum_is_the_count_and_passes_the_borders():
    outputs, frames = outputs_of(16, 160, 1, first=32, last=128)
    found = joined_density(outputs, frames, 160, Joining())
    assert found.count == 6
    assert found.values.sum() == pytest.approx(6, abs=0.2)
    starts = [first for first, _ in found.spans]
    assert np.abs(np.array(starts) - np.arange(32, 128, 16)).max() <= 2
    assert found.spans[-1][1] <= 130 and not found.values[:28].any()


def test_the_sure_pace_decides_and_among_sure_ones_the_fitting_one():
    sure = outputs_of(16, 160, 1)
    unsure = outputs_of(40, 160, 4)
    unsure[0][..., 0] = -9
    outputs, frames = (np.concatenate(one) for one in zip(sure, unsure, strict=True))
    assert joined_density(outputs, frames, 160, Joining()).count == 10
    other = outputs_of(200, 160, 4)  # 50 frames of a clip, far from 14
    outputs, frames = (np.concatenate(one) for one in zip(sure, other, strict=True))
    assert joined_density(outputs, frames, 160, Joining(width=0.3)).count == 10


def test_short_gaps_are_closed_and_short_runs_left_out():
    outputs, frames = outputs_of(20, 200, 1, first=0, last=80)
    late, _ = outputs_of(20, 200, 1, first=88, last=160)
    outputs[..., 0] = np.maximum(outputs[..., 0], late[..., 0])
    found = joined_density(outputs, frames, 200, Joining(pause=0.5))
    assert len(found.runs) == 1 and found.count == 8
    found = joined_density(outputs, frames, 200, Joining(pause=0.2))
    assert len(found.runs) == 2
    found = joined_density(outputs, frames, 200, Joining(pause=0.2, least=3.8))
    assert len(found.runs) == 1 and not found.values[90:].any()


def test_a_repetition_has_at_least_two_frames():
    outputs, frames = outputs_of(1e-30, 160, 1)
    assert joined_density(outputs, frames, 160, Joining(width=1e3)).count == 80


def test_the_excess_of_a_run_is_not_counted():
    density = Density(np.full(46, 0.1), [(0, 46)])
    assert density.count == 5
    assert Density(density.values, density.runs, 0.3).count == 4
    spans = Density(density.values, density.runs, 0.3).spans
    assert spans[0][0] == 0 and spans[-1][1] == 45
    for (_, last), (first, _) in zip(spans, spans[1:], strict=False):
        assert first == last + 1


def test_the_consensus_is_the_median_and_its_repetitions_are_those_of_a_method_if_one_agrees():
    network, rules = [(0, 9), (10, 19), (20, 29)], [(0, 29)]
    assert consensus(network, rules, 9) == network
    assert consensus(network, [], 0) == []
    assert consensus(network, rules, 0) == rules
    assert consensus(network, rules, 2) == [(0, 14), (15, 29)]
    assert consensus([], network, 2) == [(0, 14), (15, 29)]


def test_repetitions_are_divided_without_the_pauses_between_them():
    spans = [(0, 9), (10, 19), (50, 59), (60, 69)]
    assert divided(spans, 2) == [(0, 19), (50, 69)]
    assert divided(spans, 8)[3:5] == [(15, 19), (50, 54)]
    assert divided(spans, 1) == [(0, 69)]
    assert divided([(3, 3)], 2) == [(3, 3), (3, 3)]


def test_runs_of_nothing_and_of_everything():
    assert runs_of(np.zeros(4, bool)) == [] and runs_of(np.ones(4, bool)) == [(0, 4)]
    assert runs_of(np.array([1, 0, 1, 1], bool)) == [(0, 1), (2, 4)]


def test_settings_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"problem.joining.threshold` must be above 0 and below 1"):
        Joining(threshold=1.0)
