"""Metrics of classes that were never trained on, with numbers worked out by hand."""

import numpy as np
import pytest

from flag3d_exp.results.zero_shot import fitted_gate, harmonic_means, zero_shot_metrics

# Classes 0 and 1 are seen, 2 and 3 unseen; the text of 2 is near that of 1, that of 3 near 0's.
VECTORS = np.array([[1, 0], [0, 1], [0.1, 0.995], [0.995, 0.1]], np.float32)


def test_unseen_classes_are_told_among_themselves_and_against_baselines():
    scores = np.array(
        [
            [0.7, 0.1, 0.15, 0.05],  # 2; the seen answer 0 is nearest to 3
            [0.1, 0.6, 0.2, 0.1],  # 2; the seen answer 1 is nearest to 2
            [0.1, 0.6, 0.2, 0.1],  # 2
            [0.6, 0.2, 0.05, 0.15],  # 3
        ]
    )
    found = zero_shot_metrics(scores, np.array([2, 2, 3, 3]), np.array([2, 3]), VECTORS)
    assert found == {"top1_zero_shot": 75.0, "top1_nearest_text": 50.0, "top1_chance": 50.0}


def test_the_harmonic_mean_is_of_both_parts_of_a_split():
    metrics = {
        "val/top1": 80.0,
        "val_unseen/top1": 20.0,
        "val_unseen/top5": 50.0,
        "out_domain/top1": 70.0,
        "out_domain_unseen/top1": 0.0,
        "other_unseen/top1": 3.0,
    }
    found = harmonic_means(metrics)
    assert found == {
        "val_unseen/top1_harmonic": pytest.approx(32.0),
        "out_domain_unseen/top1_harmonic": 0.0,
    }
    assert harmonic_means({"a/top1": 0.0, "a_unseen/top1": 0.0})["a_unseen/top1_harmonic"] == 0.0


def test_the_gate_lets_unseen_classes_win_where_it_costs_least():
    """The recording of class 2 needs more than 3, that of class 3 more than 9; from 5 on, the
    recordings of class 0 go wrong one by one."""
    seen = np.array([[[9, 0, 4, 0]], [[9, 0, 1, 0]], [[0, 9, 0, 1]], [[0, 9, 0, 0]]], float)
    unseen = np.array([[[5, 0, 2, 0]], [[0, 9.2, 0, 0]]], float)
    trained = np.array([True, True, False, False])
    found = fitted_gate((seen, np.array([0, 0, 1, 1])), (unseen, np.array([2, 3])), trained)
    gate, mean = found
    assert 3 < gate < 5 and mean == pytest.approx(2 * 100 * 50 / 150)
    dear = unseen - np.array([0, 0, 7, 0])  # now both need too much
    gate, mean = fitted_gate((seen, np.array([0, 0, 1, 1])), (dear, np.array([2, 3])), trained)
    assert mean < 50
