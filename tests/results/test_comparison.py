import numpy as np
import pytest

from flag3d_exp.results import comparison
from flag3d_exp.results.predictions import Predictions

LABELS = np.array([0, 0, 1, 1, 1, 1])


def guessing(*classes: int) -> Predictions:
    return Predictions(tuple("abcdef"), LABELS, np.eye(2)[list(classes)])


RUNS = {
    "joint": guessing(0, 0, 1, 1, 1, 0),
    "bone": guessing(0, 1, 0, 0, 1, 0),
}


def test_wins_are_counted_by_side_and_class():
    (pair,) = comparison.compare(RUNS, ["squat", "lunge"])
    assert (pair.first, pair.second) == ("joint", "bone")
    assert pair.difference.value == pytest.approx(3 / 6)
    assert (pair.only_first, pair.only_second) == (3, 0)
    assert pair.p_value == 2 / 2**3
    assert pair.by_class == {"squat": (1, 0), "lunge": (2, 0)}


def test_recordings_that_no_run_gets_right_are_named():
    assert comparison.wrong_by_all(RUNS) == ["f"]


def test_three_runs_make_three_pairs_with_holms_correction():
    runs = RUNS | {"motion": guessing(0, 0, 0, 0, 0, 0)}
    pairs = comparison.compare(runs, ["squat", "lunge"])
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("joint", "bone"),
        ("joint", "motion"),
        ("bone", "motion"),
    ]
    assert [pair.adjusted_p for pair in pairs] == comparison.holm([p.p_value for p in pairs])


def test_holm_multiplies_the_smallest_most():
    # Sorted: 0.01 * 3, max(0.02 * 2, 0.03), max(0.9, 0.04)
    assert comparison.holm([0.02, 0.9, 0.01]) == pytest.approx([0.04, 0.9, 0.03])
    assert comparison.holm([0.5, 0.6]) == [1.0, 1.0]
