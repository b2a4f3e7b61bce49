"""Temperatures, worked out by hand."""

import numpy as np
import pytest

from flag3d_exp.problems.classify import Classify
from flag3d_exp.results.temperature import calibration_error, fitted_temperature, mean_loss
from flag3d_exp.tasks.calibrate import doubts, measures


def overconfident(factor, num=4000):
    """Logits (n, 1, 2) whose scores would be true if they were divided by `factor`."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0.05, 0.95, num)
    labels = (rng.random(num) < true).astype(np.int64)
    logits = factor * np.stack([np.log(1 - true), np.log(true)], -1)
    return logits[:, None].astype(np.float32), labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_factor_of_too_certain_logits_is_found(factor):
    logits, labels = overconfident(factor)
    temperature = fitted_temperature(logits, labels)
    assert temperature == pytest.approx(factor, rel=0.1)
    assert calibration_error(logits, labels, temperature) < 0.03
    assert mean_loss(logits, labels, temperature) <= mean_loss(logits, labels)


def test_the_loss_at_a_temperature_is_that_of_divided_logits():
    logits, labels = np.array([[[2 * np.log(3), 0.0]]]), np.array([0])
    assert mean_loss(logits, labels, 2.0) == pytest.approx(np.log(4 / 3))
    found = measures({"val": (logits, labels)}, 2.0)
    assert found["val_calibrated/ece"] == pytest.approx(25)
    assert found["val/ece"] == pytest.approx(10)


def test_the_problem_s_temperature_softens_scores_and_keeps_classes():
    outputs = np.array([[[2 * np.log(3), 0.0]]], np.float32)
    np.testing.assert_allclose(
        Classify(2, temperature=2.0).predictions(outputs, outputs), [[0.75, 0.25]]
    )
    np.testing.assert_allclose(Classify(2).predictions(outputs, outputs), [[0.9, 0.1]])


def test_few_recordings_and_temperatures_at_an_end_are_doubted():
    assert not doubts(1.5, 500, "val")
    assert "val has 40 recordings" in doubts(1.5, 40, "val")[0]
    assert "at an end of the tried range" in doubts(20.0, 500, "val")[0]
