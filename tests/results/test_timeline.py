"""Timelines, worked out by hand."""

import numpy as np

from flag3d_exp.results.timeline import (
    ABSENT,
    UNKNOWN,
    Segment,
    Timeline,
    cell_scores,
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
    found = timeline(np.tile([0.9, 0.1], (len(starts), 1)), starts, 20, 10, seen, 0.5, 20)
    assert found.labels.tolist() == [0] * 5 + [ABSENT] * 3 + [0] * 2
    unsure = timeline(np.tile([0.4, 0.3], (len(starts), 1)), starts, 20, 10, seen, 0.5, 20)
    assert set(unsure.labels.tolist()) == {UNKNOWN, ABSENT}
