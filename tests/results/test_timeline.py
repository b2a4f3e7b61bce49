"""Timelines, worked out by hand."""

import numpy as np
import pytest

from flag3d_exp.results.timeline import (
    ABSENT,
    UNKNOWN,
    Segment,
    Timeline,
    cell_scores,
    tiled_scores,
    timeline,
    window_starts,
    without_short,
)


def test_windows_begin_at_every_hop_and_the_last_ends_at_the_end():
    assert window_starts(100, 40, 20).tolist() == [0, 20, 40, 60]
    assert window_starts(105, 40, 20).tolist() == [0, 20, 40, 60, 65]
    assert window_starts(30, 40, 20).tolist() == [0]


def test_a_cell_has_the_mean_of_its_windows_the_nearest_most():
    # Two windows of 4 frames in 6, cells of 2. The middle cell is 1 frame from either's middle:
    # their weights are equal. The outer ones are under one window each.
    scores = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = cell_scores(scores, np.array([0, 2]), 4, 2, 6)
    np.testing.assert_allclose(found, [[1, 0], [0.5, 0.5], [0, 1]])


def test_weights_fall_from_the_middle_of_a_window():
    # Windows of 8 frames at 0 and 2; the cell of frames 2 and 3 has its middle at 3: 1 frame from
    # the first one's middle (weight 3/4) and 3 from the second's (1/4).
    scores = np.array([[1.0], [0.0]])
    found = cell_scores(scores, np.array([0, 2]), 8, 2, 10)
    np.testing.assert_allclose(found[1], [0.75], atol=1e-3)


def test_segments_are_frames_of_one_label():
    labels = np.array([0, 0, ABSENT, 1, UNKNOWN])
    scores = np.array([[0.8, 0.2], [0.6, 0.4], [0, 0], [0.1, 0.9], [0.4, 0.3]])
    found = Timeline(scores, labels, 10, 43)
    assert found.segments == [
        Segment(0, 19, 0, 0.7),
        Segment(30, 39, 1, 0.9),
        Segment(40, 42, UNKNOWN, 0.4),
    ]
    assert found.frame_labels.tolist() == [0] * 20 + [ABSENT] * 10 + [1] * 10 + [UNKNOWN] * 3


def test_a_short_run_becomes_the_likelier_neighbour():
    labels = np.array([0, 0, 0, 2, 1, 1, 1])
    scores = np.eye(3)[labels] * 0.6
    scores[3] = [0.1, 0.3, 0.6]
    assert without_short(labels, scores, 2, 0.2).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert without_short(labels, scores, 1, 0.2).tolist() == labels.tolist()
    unknown = np.array([0, 0, 0, 2, UNKNOWN, UNKNOWN])
    assert without_short(unknown, scores, 2, 0.2)[3] == UNKNOWN
    alone = np.array([ABSENT, 2, ABSENT, 0, 0])
    assert without_short(alone, scores, 2, 0.2).tolist() == alone.tolist()


def test_runs_of_one_cell_in_turn_end_in_long_ones():
    labels = np.array([0, 1] * 10)
    found = without_short(labels, np.eye(2)[labels], 4, 0.0)
    borders = np.flatnonzero(np.diff(found))
    assert np.diff([-1, *borders, 19]).min() >= 4


def test_a_person_out_of_sight_is_absent_and_a_short_gap_is_none():
    seen = np.ones(100, bool)
    seen[10:20] = seen[50:80] = False
    starts = window_starts(100, 20, 10)
    lengths = np.full(len(starts), 20)
    scores = np.tile([0.9, 0.1], (len(starts), 1))
    found = timeline(scores, starts, lengths, 10, seen, 0.5, 20)
    assert found.labels.tolist() == [0] * 5 + [ABSENT] * 3 + [0] * 2
    scores = np.tile([0.4, 0.3], (len(starts), 1))
    unsure = timeline(scores, starts, lengths, 10, seen, 0.5, 20)
    assert set(unsure.labels.tolist()) == {UNKNOWN, ABSENT}


def windows_of(labels, lengths, hop):
    """Scores, starts and lengths of windows of frames (T,) labelled 0 or 1: the share of each."""
    found = [
        (start, length, labels[start : start + length].mean())
        for length in lengths
        for start in window_starts(len(labels), length, hop)
    ]
    starts, sizes, ones = (np.array(column) for column in zip(*found, strict=True))
    return np.stack([1 - ones, ones], 1), starts, sizes


def test_windows_of_several_lengths_tile_a_recording_between_its_borders():
    labels = np.repeat([0, 1, 0, 1], [30, 70, 110, 40])
    scores, starts, lengths = windows_of(labels, (30, 40, 50), 10)
    found = timeline(scores, starts, lengths, 10, np.ones(250, bool), 0.5, 20)
    np.testing.assert_array_equal(found.frame_labels, labels)
    np.testing.assert_array_equal(found.scores, np.eye(2)[labels[::10]])
    # With windows of one length, the scores change gradually.
    one = timeline(*windows_of(labels, (50,), 10), 10, np.ones(250, bool), 0.5, 20)
    assert ((one.scores > 0.1) & (one.scores < 0.9)).any()


def test_a_recording_that_is_no_multiple_of_the_hop_is_tiled_to_its_end():
    labels = np.repeat([0, 1], [40, 57])
    scores, starts, lengths = windows_of(labels, (32, 45), 10)
    found = timeline(scores, starts, lengths, 10, np.ones(97, bool), 0.5, 20)
    assert (found.frame_labels == labels).mean() > 0.9 and found.scores.any(1).all()
    short = timeline(*windows_of(labels[:25], (32, 45), 10), 10, np.ones(25, bool), 0.5, 20)
    assert short.labels.tolist() == [0, 0, 0]


def test_windows_are_cut_where_the_person_is_absent():
    seen = np.ones(200, bool)
    seen[70:120] = False
    labels = np.repeat([0, 1], [95, 105])
    scores, starts, lengths = windows_of(labels, (30, 60), 10)
    there = np.array([seen[a : a + n].any() for a, n in zip(starts, lengths, strict=True)])
    found = timeline(scores[there], starts[there], lengths[there], 10, seen, 0.5, 20)
    assert found.labels.tolist() == [0] * 7 + [ABSENT] * 5 + [1] * 8


@pytest.mark.parametrize("seed", range(5))
def test_no_sequence_of_windows_is_surer_than_the_one_found(seed):
    """Compared with all sequences, for windows that need no cut."""
    rng = np.random.default_rng(seed)
    options = [(start, length) for length in (1, 2, 3) for start in range(8 - length + 1)]
    starts, lengths = (np.array(one) for one in zip(*options, strict=True))
    scores = rng.dirichlet(np.ones(3), len(options))
    values = dict(zip(options, lengths * np.log(scores.max(1)), strict=True))

    def best(begin):
        """The largest value from a border to the end."""
        if begin == 8:
            return 0.0
        return max(values[begin, n] + best(begin + n) for n in (1, 2, 3) if begin + n <= 8)

    found = tiled_scores(scores, starts, lengths, 1, np.ones(8, bool))
    value = np.log(found.max(1)).sum()
    assert value >= best(0) - 1e-9  # more, if the last window is cut at its start
