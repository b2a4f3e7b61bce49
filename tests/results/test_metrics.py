import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flag3d_exp.results import metrics
from flag3d_exp.results.published import BODY_PART_OF, BODY_PARTS, CLASSES, PUBLISHED

# Three classes, five recordings.
LABELS = np.array([0, 0, 1, 1, 2])
SCORES = np.array(
    [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]]
)
CONFUSION = np.array([[1, 1, 0], [0, 2, 0], [1, 0, 0]])


@pytest.fixture(scope="module")
def oracle(shared: Path) -> tuple[dict, dict[str, np.ndarray]]:
    text = json.loads((shared / "parity" / "metrics.json").read_text())
    return text, dict(np.load(shared / "parity" / "metrics.npz"))


@pytest.fixture(scope="module")
def published(shared: Path):
    """Label and prediction (n, 2) of every test recording of a published model."""

    def load(name: str) -> np.ndarray:
        path = shared / "published" / f"{name}.csv"
        return np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64)

    return load


def test_accuracy_of_five_recordings():
    assert metrics.top_k_accuracy(SCORES, LABELS, 1) == 3 / 5
    assert metrics.top_k_accuracy(SCORES, LABELS, 2) == 4 / 5
    assert metrics.top_k_accuracy(SCORES, LABELS, 3) == 1


def test_confusion_counts_labels_in_rows():
    matrix = metrics.confusion_matrix(metrics.predictions(SCORES), LABELS, 3)
    np.testing.assert_array_equal(matrix, CONFUSION)


def test_mean_class_accuracy_weighs_classes_equally():
    assert metrics.mean_class_accuracy(CONFUSION) == pytest.approx((0.5 + 1 + 0) / 3)


def test_classes_only_predicted_count_if_asked_for():
    confusion = np.array([[1, 1], [0, 0]])
    assert metrics.mean_class_accuracy(confusion) == 0.5
    assert metrics.mean_class_accuracy(confusion, count_predicted=True) == 0.25
    np.testing.assert_array_equal(metrics.class_accuracy(confusion), [0.5, np.nan])


def test_macro_f1_of_five_recordings():
    # class 0: 2*1/(2+2); class 1: 2*2/(2+3); class 2: never predicted.
    assert metrics.macro_f1(CONFUSION) == pytest.approx((0.5 + 0.8 + 0) / 3)


def test_log_loss_is_finite_where_the_label_got_nothing():
    losses = metrics.log_losses(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 1]))
    np.testing.assert_allclose(losses, [np.log(2), 12 * np.log(10)])


def test_calibration_error_of_two_bins():
    scores = np.array([[0.55, 0.45], [0.55, 0.45], [0.95, 0.05], [0.85, 0.15]])
    bins = metrics.calibration(scores, np.array([0, 1, 0, 0]), num_bins=5)
    np.testing.assert_array_equal(bins.counts, [0, 0, 2, 0, 2])
    # |0.55 - 1/2| * 2/4 + |0.90 - 1| * 2/4
    assert bins.error == pytest.approx(0.075)


def test_most_confused_pairs_come_first_and_right_answers_never():
    pairs = metrics.most_confused(np.array([[9, 2, 0], [5, 3, 0], [0, 0, 4]]))
    assert pairs == [metrics.Confusion(1, 0, 5, 8), metrics.Confusion(0, 1, 2, 11)]


def test_equal_scores_cannot_all_be_right():
    same = np.full((4, 4), 0.25)
    assert metrics.top_k_accuracy(same, np.arange(4), 1) == 0.25
    assert metrics.top_k_accuracy(same, np.arange(4), 2) == 0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    scores = SCORES.copy()
    scores[1, 2] = bad
    with pytest.raises(ValueError, match="finite"):
        metrics.top_k_accuracy(scores, LABELS, 1)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_that_are_no_classes_are_refused(label):
    with pytest.raises(ValueError, match="labels must be in 0..2"):
        metrics.top_k_accuracy(SCORES, np.array([0, 0, 1, 1, label]), 1)


@given(st.integers(0, 2**32 - 1))
def test_accuracy_ignores_the_order_of_recordings(seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.random((12, 4)), rng.integers(0, 4, 12)
    order = rng.permutation(12)
    for k in (1, 2, 4):
        expected = metrics.top_k_accuracy(scores, labels, k)
        assert metrics.top_k_accuracy(scores[order], labels[order], k) == expected


def test_softmax_bears_large_logits():
    np.testing.assert_allclose(metrics.softmax(np.array([1000.0, 1000.0, -1000.0])), [0.5, 0.5, 0])


def test_group_counts_keep_the_order_of_groups():
    counts = metrics.group_counts(np.array([True, False, True]), ["b", "a", "b"])
    assert list(counts.items()) == [("b", (2, 2)), ("a", (0, 1))]


@pytest.mark.parametrize("stream", ["j", "b", "jm", "bm"])
def test_clip_averages_equal_the_reference(oracle, stream):
    _, arrays = oracle
    scores = metrics.average_clips(arrays[f"{stream}/clip_logits"])
    np.testing.assert_allclose(scores, arrays[f"{stream}/scores"], atol=1e-6)


@pytest.mark.parametrize(
    ("result", "streams", "weights"),
    [
        ("j", "j", (1,)),
        ("b", "b", (1,)),
        ("jm", "jm", (1,)),
        ("bm", "bm", (1,)),
        ("fused_four_2_2_1_1", "j b jm bm", (2, 2, 1, 1)),
        ("fused_two_1_1", "j b", (1, 1)),
        ("fused_j_b_1:1", "j b", (1, 1)),
        ("fused_j_b_2:1", "j b", (2, 1)),
        ("fused_j_b_1:2", "j b", (1, 2)),
    ],
)
def test_accuracies_equal_the_reference(oracle, result, streams, weights):
    text, arrays = oracle
    expected, labels = text["results"][result], arrays["labels"]
    scores = metrics.fuse_scores([arrays[f"{s}/scores"] for s in streams.split()], weights)
    confusion = metrics.confusion_matrix(metrics.predictions(scores), labels, scores.shape[1])
    assert metrics.top_k_accuracy(scores, labels, 1) == expected["top1"]
    assert metrics.top_k_accuracy(scores, labels, 5) == expected["top5"]
    assert metrics.mean_class_accuracy(confusion, count_predicted=True) == pytest.approx(
        expected["mean_class_accuracy"], abs=1e-12
    )
    assert metrics.mean_class_accuracy(confusion) == pytest.approx(
        expected["mean_class_accuracy_labels_only"], abs=1e-12
    )


@pytest.mark.parametrize(
    ("result", "streams", "weights"),
    [("fused_four", "j b jm bm", (2, 2, 1, 1)), ("fused_two", "j b", (1, 1))],
)
def test_fused_scores_equal_the_reference(oracle, result, streams, weights):
    _, arrays = oracle
    fused = metrics.fuse_scores([arrays[f"{s}/scores"] for s in streams.split()], weights)
    np.testing.assert_allclose(fused, arrays[result], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "top1"),
    [
        ("aagcn_in_domain", "98.565"),
        ("aagcn_out_domain", "81.500"),
        ("posec3d_out_domain", "79.889"),
        ("stgcn_in_domain", "81.574"),
        ("stgcn_out_domain", "58.542"),
    ],
)
def test_published_predictions_give_the_published_accuracy(published, name, top1):
    rows = published(name)
    confusion = metrics.confusion_matrix(rows[:, 1], rows[:, 0], 60)
    assert f"{100 * metrics.mean_class_accuracy(confusion):.3f}" == top1
    counts = (int(np.trace(confusion)), len(rows))
    assert counts in {(row.correct, row.total) for row in PUBLISHED}


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("aagcn_out_domain", "81.7 77.1 76.4 79.9 81.2 86.8 74.4 85.8 87.7 86.2"),
        ("posec3d_out_domain", "74.0 76.8 78.2 86.0 75.8 85.1 73.2 73.5 90.0 89.0"),
    ],
)
def test_published_accuracy_by_body_part(published, name, percent):
    labels, predicted = published(name).T
    parts = [BODY_PART_OF[CLASSES[label]] for label in labels]
    counts = metrics.group_counts(labels == predicted, parts)
    shares = [f"{100 * counts[part][0] / counts[part][1]:.1f}" for part in BODY_PARTS]
    assert " ".join(shares) == percent


@pytest.mark.parametrize(
    ("name", "worst"),
    [
        ("aagcn_out_domain", {(26, 29, 51), (34, 45, 36), (15, 16, 34), (36, 39, 31), (25, 9, 30)}),
        ("posec3d_out_domain", {(1, 23, 53), (14, 13, 47), (43, 47, 43), (46, 44, 43)}),
    ],
)
def test_published_worst_pairs(published, name, worst):
    labels, predicted = published(name).T
    pairs = metrics.most_confused(metrics.confusion_matrix(predicted, labels, 60), len(worst))
    assert {(pair.label + 1, pair.predicted + 1, pair.count) for pair in pairs} == worst
    assert {pair.total for pair in pairs} == {120}
