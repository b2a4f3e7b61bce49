import numpy as np
import pytest

from flag3d_exp.results import intervals, metrics
from flag3d_exp.results.intervals import Estimate


def test_wilson_of_published_examples():
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for right, total, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        estimate = intervals.wilson(right, total)
        assert estimate.value == right / total
        assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)


def test_wilson_stays_within_zero_and_one():
    assert intervals.wilson(7, 7).high == 1
    assert intervals.wilson(0, 7).low == 0


def test_difference_of_published_examples():
    # Newcombe (1998), method 10: 56/70 - 48/80 and 9/10 - 3/10.
    for one, other, low, high in [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
    ]:
        estimate = intervals.difference(intervals.wilson(*one), intervals.wilson(*other))
        assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)


def right(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Correctness of two models on recordings that both, one or none of them gets right."""
    counts = (both, first, second, neither)
    return np.repeat([1, 1, 0, 0], counts) > 0, np.repeat([1, 0, 1, 0], counts) > 0


def test_mcnemar_is_the_binomial_test_of_the_disagreements():
    # 2 * (C(8,0) + C(8,1)) / 2^8
    assert intervals.mcnemar(*right(5, 7, 1, 2)) == 2 * (1 + 8) / 256
    assert intervals.mcnemar(*right(5, 1, 7, 2)) == 2 * (1 + 8) / 256


def test_mcnemar_of_equals_is_one():
    assert intervals.mcnemar(*right(3, 0, 0, 4)) == 1
    assert intervals.mcnemar(*right(3, 5, 5, 4)) == 1


def test_mcnemar_is_exact_for_many_recordings():
    # Normal approximation of 2000 against 2200: z = 199 / sqrt(4200), two-sided 0.00214.
    assert intervals.mcnemar(*right(0, 2200, 2000, 0)) == pytest.approx(0.00214, rel=0.02)


def test_paired_difference_sees_what_unpaired_shares_hide():
    one, other = right(880, 20, 5, 95)
    estimate = intervals.paired_difference(one, other)
    assert estimate.value == pytest.approx(0.015)
    # Standard error sqrt(25/1000 - 0.015^2) / sqrt(1000) = 0.00498
    assert estimate.low == pytest.approx(0.015 - 1.96 * 0.00498, abs=0.0015)
    assert estimate.high == pytest.approx(0.015 + 1.96 * 0.00498, abs=0.0015)
    apart = intervals.difference(intervals.wilson(900, 1000), intervals.wilson(885, 1000))
    assert apart.low < 0 < estimate.low


def test_bootstrap_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(3, 2, 400)
    statistics = {"mean": lambda counts: counts @ values / len(values)}
    estimate = intervals.bootstrap(statistics, len(values))["mean"]
    half = 1.96 * values.std() / 20
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_intervals_cover_the_truth_19_times_in_20():
    rng = np.random.default_rng(1)
    covered = 0
    for hits in rng.binomial(200, 0.9, size=2000):
        estimate = intervals.wilson(int(hits), 200)
        covered += estimate.low <= 0.9 <= estimate.high
    assert 0.93 < covered / 2000 < 0.97


def made_up(num_recordings: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = np.arange(num_recordings) % num_classes
    logits = rng.normal(size=(num_recordings, num_classes))
    logits[np.arange(num_recordings), labels] += 2
    return metrics.softmax(logits), labels


def test_summary_holds_the_metrics_and_intervals_around_them():
    scores, labels = made_up(300, 5)
    summary = intervals.summary(scores, labels)
    confusion = metrics.confusion_matrix(metrics.predictions(scores), labels, 5)
    expected = {
        "top1": metrics.top_k_accuracy(scores, labels, 1),
        "top5": 1.0,
        "mean_class_accuracy": metrics.mean_class_accuracy(confusion),
        "macro_f1": metrics.macro_f1(confusion),
        "nll": metrics.log_losses(scores, labels).mean(),
        "ece": metrics.calibration(scores, labels).error,
    }
    assert {name: one.value for name, one in summary.items()} == pytest.approx(expected)
    for one in summary.values():
        assert one.low <= one.value <= one.high
        assert one.high - one.low < 0.25


def test_summary_is_the_same_each_time():
    scores, labels = made_up(60, 3)
    assert intervals.summary(scores, labels) == intervals.summary(scores, labels)


def test_a_perfect_model_has_a_perfect_summary():
    labels = np.arange(10)
    summary = intervals.summary(np.eye(10), labels)
    assert summary["macro_f1"] == Estimate(1, 1, 1)
    assert summary["nll"].value == summary["ece"].value == 0


def test_a_paired_interval_leaves_0_out_exactly_where_mcnemars_test_is_below_5_percent():
    for wins in range(0, 25, 2):
        for losses in range(0, min(wins, 6) + 1):
            one, other = right(0, wins, losses, 100 - wins - losses)
            estimate = intervals.paired_difference(one, other)
            assert (estimate.low > 0) == (intervals.mcnemar(one, other) < 0.05), (wins, losses)
            assert -1 <= estimate.low <= estimate.value <= estimate.high <= 1
