"""Metrics of segments, worked out by hand."""

import numpy as np
import pytest

from flag3d_exp.results.segmentation import edit_score, f1_score, matches, segmentation_metrics


def labels(*runs):
    """(T,) from (label, length) pairs."""
    return np.concatenate([np.full(length, label) for label, length in runs])


def test_metrics_of_a_recording():
    true = labels((0, 10), (1, 10), (2, 10))
    predicted = labels((0, 15), (1, 5), (2, 5), (1, 5))
    found = segmentation_metrics([predicted], [true])
    # Right: 10 of class 0, 5 of class 1, 5 of class 2.
    assert found["frame_accuracy"] == pytest.approx(100 * 20 / 30)
    # 0 1 2 1 becomes 0 1 2 by one deletion; the longer has four.
    assert found["edit"] == pytest.approx(75)
    # Overlaps: 10/15, 5/10, 5/10; the last segment is at no true one of its class.
    assert found["f1_10"] == found["f1_50"] == pytest.approx(100 * 2 * 3 / (2 * 3 + 1))


def test_overlap_just_below_the_threshold_is_none():
    true, predicted = [(0, 0, 10)], [(0, 0, 4)]
    assert matches(predicted, true, 0.4) == (1, 0, 0)
    assert matches(predicted, true, 0.41) == (0, 1, 1)


def test_a_true_segment_is_found_once():
    true, predicted = [(0, 0, 10)], [(0, 0, 5), (0, 5, 10)]
    assert matches(predicted, true, 0.5) == (1, 1, 0)


def test_no_class_is_no_segment_but_a_frame():
    true, predicted = labels((0, 5), (-1, 5)), labels((0, 5), (-2, 5))
    found = segmentation_metrics([predicted], [true])
    assert found["edit"] == found["f1_50"] == 100
    assert found["frame_accuracy"] == 50


def test_f1_is_over_all_recordings_and_edit_their_mean():
    one, two = labels((0, 10)), labels((1, 10), (0, 10))
    found = segmentation_metrics([one, labels((2, 20))], [one, two])
    assert found["edit"] == pytest.approx((100 + 0) / 2)
    assert found["f1_10"] == pytest.approx(100 * 2 / (2 + 1 + 2))


def test_nothing_to_find_and_nothing_found_is_right():
    assert edit_score([], []) == 100
    assert f1_score(0, 0, 0) == 100
    assert f1_score(0, 1, 0) == 0
