from pathlib import Path

import numpy as np
import pytest

from flag3d_exp.errors import UserError
from flag3d_exp.results.predictions import Predictions, load_predictions, paired_predictions

GOOD = {
    "names": np.array(["a", "b"]),
    "labels": np.array([0, 1]),
    "scores": np.array([[0.9, 0.1], [0.6, 0.4]], np.float32),
}


def saved(folder: Path, **changes: np.ndarray) -> Path:
    path = folder / "val.npz"
    np.savez(path, **{key: value for key, value in (GOOD | changes).items() if value is not None})
    return path


def test_predictions_are_read_as_they_were_written(tmp_path):
    found = load_predictions(saved(tmp_path))
    assert found.names == ("a", "b")
    assert found.num_classes == 2
    np.testing.assert_array_equal(found.right, [True, False])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": np.array(["a", "a"])}, "'a' occurs more than once"),
        ({"labels": np.array([0, 2])}, "`labels` must be integers in 0..1; got 0..2"),
        ({"labels": np.array([0.0, 1.0])}, "`labels` must be integers"),
        ({"labels": np.array([0])}, r"got \(2,\), \(1,\) and \(2, 2\)"),
        ({"scores": np.array([[0.9, np.nan], [0.6, 0.4]])}, "must be finite"),
        ({"scores": np.array([[3.0, -2.0], [0.6, 0.4]])}, "must be finite and not negative"),
        ({"scores": np.array([[3.0, 2.0], [0.6, 0.4]])}, "must sum to 1, as after softmax"),
        ({"scores": np.array([0.5, 0.5])}, r"must be \(n, K\)"),
        ({"scores": None}, "it lacks .scores"),
        ({"names": np.array([b"a", None], object)}, "holds no predictions"),
    ],
)
def test_files_that_are_no_predictions_are_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        load_predictions(saved(tmp_path, **changes))


def test_a_cut_file_is_refused(tmp_path):
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="holds no predictions"):
        load_predictions(path)


def made(names: str, labels: list[int], num_classes: int = 2) -> Predictions:
    scores = np.full((len(labels), num_classes), 1 / num_classes)
    return Predictions(tuple(names), np.array(labels), scores)


def test_runs_are_paired_by_name_not_by_place():
    one = made("ab", [0, 1])
    other = Predictions(("b", "a"), np.array([1, 0]), np.array([[0.2, 0.8], [0.7, 0.3]]))
    matched = paired_predictions({"one": one, "other": other}, "val")["other"]
    assert matched.names == ("a", "b")
    np.testing.assert_array_equal(matched.scores, [[0.7, 0.3], [0.2, 0.8]])
    np.testing.assert_array_equal(matched.labels, [0, 1])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (made("abc", [0, 1, 1]), "0 only in the first, 1 only in the second, such as 'c'"),
        (made("a", [0]), "1 only in the first, 0 only in the second, such as 'b'"),
        (made("ab", [0, 0]), "disagree on the labels of 1 recordings in split `val`, such as 'b'"),
        (made("ab", [0, 1], 3), "different classes in split `val`: 2 and 3"),
    ],
)
def test_runs_that_do_not_match_are_refused(other, message):
    with pytest.raises(UserError, match=message):
        paired_predictions({"one": made("ab", [0, 1]), "other": other}, "val")
