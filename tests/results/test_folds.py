import pytest

from flag3d_exp.results.folds import paired_differences


def test_the_paired_test_sees_what_all_folds_agree_on():
    a = {"0": 50.0, "1": 70.0, "2": 90.0}
    (found,) = paired_differences({"a": a, "b": {fold: value + 2 for fold, value in a.items()}})
    assert (found.first, found.second, found.points.value) == ("b", "a", 2.0)
    assert found.p_value == 0  # every fold says the same
    (same,) = paired_differences({"a": a, "b": dict(a)})
    assert (same.points.value, same.p_value) == (0.0, 1.0)


def test_only_folds_that_both_have_are_compared_and_pairs_are_corrected_for():
    groups = {
        "a": {"0": 10.0, "1": 20.0, "2": 33.0},
        "b": {"0": 12.0, "1": 23.0, "3": 90.0},
        "c": {"2": 30.0},
    }
    (found,) = paired_differences(groups)
    assert {found.first, found.second} == {"a", "b"}
    # b - a: 2 and 3, mean 2.5, error 0.5, t = 5 with 1 degree of freedom: p 0.1257
    assert found.points.value == 2.5
    assert found.adjusted_p == found.p_value == pytest.approx(0.12567, abs=1e-5)
