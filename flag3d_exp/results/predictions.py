"""Predictions of a split: read, validate and match them by recording."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.errors import UserError
from flag3d_exp.names import check_names
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npz_arrays

CONFIDENCE = 0.4  # default of the probability below which a class is `unknown`


@dataclass(frozen=True)
class Predictions:
    """A model's scores of each recording of a split.

    Attributes:
        names: (n,) unique names of the recordings.
        labels: (n,) int64.
        scores: (n, K) float, rows that sum to 1.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray

    @property
    def num_classes(self) -> int:
        """Number of classes, K."""
        return self.scores.shape[1]

    @property
    def right(self) -> np.ndarray:
        """(n,) whether the label has the highest score."""
        return self.scores.argmax(axis=1) == self.labels

    def take(self, names: Sequence[str]) -> "Predictions":
        """The predictions of the recordings with these names, in this order."""
        rows = {name: row for row, name in enumerate(self.names)}
        chosen = np.array([rows[name] for name in names], np.int64)
        return Predictions(tuple(names), self.labels[chosen], self.scores[chosen])


def likeliest(
    names: Sequence[str], scores: np.ndarray, class_names: Sequence[str], top_k: int
) -> list[dict[str, Any]]:
    """Each recording's `name` and its `top_k` classes, likeliest first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return [
        {
            "name": name,
            "classes": [
                {
                    "label": int(label),
                    "class": class_names[label],
                    "probability": round(float(row_scores[label]), 6),
                }
                for label in row_order
            ],
        }
        for name, row_scores, row_order in zip(names, scores, order, strict=True)
    ]


def answer(likeliest_class: Mapping[str, Any], confidence: float) -> str:
    """The name of the likeliest class, or `unknown` if its probability is below `confidence`."""
    sure = likeliest_class["probability"] >= confidence
    return likeliest_class["class"] if sure else "unknown"


def load_predictions(path: Path) -> Predictions:
    """The predictions in `<split>.npz`: arrays `names`, `labels`, `scores`.

    Raises:
        UserError: the file has another form, or its numbers are not valid predictions.
    """
    try:
        arrays = npz_arrays(path)
        names, labels, scores = (arrays[key] for key in ("names", "labels", "scores"))
    except (Malformed, FileNotFoundError, KeyError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(
            f"{path} holds no predictions (names, labels, scores): {reason}."
        ) from error
    if names.ndim != 1 or labels.shape != names.shape or scores.shape[:1] != names.shape:
        raise UserError(
            f"{path}: `names`, `labels` and `scores` must be (n,), (n,) and (n, K); "
            f"got {names.shape}, {labels.shape} and {scores.shape}."
        )
    if scores.ndim != 2 or not scores.size:
        raise UserError(f"{path}: `scores` must be (n, K) and not empty; got {scores.shape}.")
    if names.dtype.kind != "U" or scores.dtype.kind != "f":
        raise UserError(
            f"{path}: `names` must be texts and `scores` floating-point numbers; got "
            f"{names.dtype} and {scores.dtype}."
        )
    names = tuple(names.tolist())
    check_names(names, f"{path}: the name of a recording")
    if len(set(names)) < len(names):
        repeated = Counter(names).most_common(1)[0][0]
        raise UserError(f"{path}: recording {repeated!r} occurs more than once.")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise UserError(
            f"{path}: `labels` must be integers in 0..{scores.shape[1] - 1}; "
            f"got {labels.min()}..{labels.max()}."
        )
    scores = scores.astype(np.float64)
    if not np.isfinite(scores).all() or scores.min() < 0:
        raise UserError(f"{path}: `scores` must be finite and not negative.")
    if np.abs(scores.sum(axis=1) - 1).max() > 1e-2:
        raise UserError(f"{path}: each row of `scores` must sum to 1, as after softmax.")
    return Predictions(names, labels.astype(np.int64), scores)


def paired_predictions(
    predictions: Mapping[str, Predictions], split: str
) -> dict[str, Predictions]:
    """The runs' predictions of one split, with recordings in the first run's order.

    Args:
        predictions: by the run's name.
        split: for messages.

    Raises:
        UserError: the runs differ in their recordings, their labels or their number of classes.
    """
    (first_name, first), *_ = predictions.items()
    matched = {}
    for name, other in predictions.items():
        if other.num_classes != first.num_classes:
            raise UserError(
                f"{first_name} and {name} know different classes in split `{split}`: "
                f"{first.num_classes} and {other.num_classes}."
            )
        here, there = set(first.names), set(other.names)
        missing = [one for one in first.names if one not in there]
        added = [one for one in other.names if one not in here]
        if missing or added:
            example = (missing or added)[0]
            raise UserError(
                f"{first_name} and {name} hold different recordings in split `{split}`: "
                f"{len(missing)} only in the first, {len(added)} only in the second, "
                f"such as {example!r}."
            )
        matched[name] = other.take(first.names)
        differing = np.flatnonzero(matched[name].labels != first.labels)
        if len(differing):
            row = differing[0]
            raise UserError(
                f"{first_name} and {name} disagree on the labels of {len(differing)} recordings "
                f"in split `{split}`, such as {first.names[row]!r}: "
                f"{first.labels[row]} and {matched[name].labels[row]}."
            )
    return matched
