import numpy as np
import pytest

from flag3d_exp.errors import UserError
from flag3d_exp.results import fusion, metrics
from flag3d_exp.results.predictions import Predictions


def member(scores: list[list[float]], labels: list[int]) -> Predictions:
    return Predictions(tuple(map(str, range(len(labels)))), np.array(labels), np.array(scores))


JOINT = member([[0.9, 0.1], [0.4, 0.6]], [0, 0])
BONE = member([[0.3, 0.7], [0.8, 0.2]], [0, 0])


def test_fused_scores_are_the_weighted_mean():
    fused = fusion.fuse([JOINT, BONE], [2, 1])
    np.testing.assert_allclose(fused.scores, [[0.7, 0.3], [1.6 / 3, 1.4 / 3]])
    assert fused.right.all()


def test_only_the_ratio_of_weights_matters():
    one = fusion.fuse([JOINT, BONE], [2, 1]).scores
    np.testing.assert_allclose(one, fusion.fuse([JOINT, BONE], [0.5, 0.25]).scores)


@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [1, -1], [0, 0], [1, float("nan")]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(UserError, match=r"`task\.weights`"):
        fusion.check_weights(weights, 2)


def noisy(quality: float | np.ndarray, labels: np.ndarray, seed: int) -> Predictions:
    logits = np.random.default_rng(seed).normal(size=(len(labels), 5))
    logits[np.arange(len(labels)), labels] += quality
    names = tuple(map(str, range(len(labels))))
    return Predictions(names, labels, metrics.softmax(logits))


def test_fitted_weights_are_the_likeliest():
    labels = np.arange(500) % 5
    few = np.where(labels < 3, 3.0, 0.0)
    others = np.where(labels < 3, 0.0, 3.0)
    members = [noisy(few, labels, 1), noisy(others, labels, 2), noisy(0.0, labels, 3)]

    def loss(weights: list[float]) -> float:
        fused = fusion.fuse(members, weights)
        return float(metrics.log_losses(fused.scores, labels).mean())

    fitted = fusion.fit_weights(members)
    assert sum(fitted) == pytest.approx(1)
    assert fitted[0] > fitted[1] > fitted[2]
    best = loss(fitted)
    for change in ([0.02, -0.02, 0], [-0.02, 0.02, 0], [0, -0.02, 0.02], [-0.02, 0, 0.02]):
        moved = np.maximum(np.array(fitted) + change, 0)
        assert best <= loss(moved.tolist()) + 1e-7


def test_a_useless_member_gets_no_weight():
    labels = np.arange(100) % 5
    members = [noisy(6, labels, 1), noisy(-6, labels, 2)]
    assert fusion.fit_weights(members)[1] < 0.01
