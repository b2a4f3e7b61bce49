"""A run's results on one split, and the gap between two splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flag3d_exp.results import intervals, metrics
from flag3d_exp.results.intervals import Estimate
from flag3d_exp.results.metrics import Calibration, Confusion
from flag3d_exp.results.predictions import Predictions
from flag3d_exp.results.published import BODY_PART_OF, BODY_PARTS, subject

PERCENT = ("top1", "top5", "mean_class_accuracy", "macro_f1", "ece")


@dataclass(frozen=True)
class Evaluation:
    """All results of one run on one split.

    Attributes:
        estimates: top1, top5, mean_class_accuracy, macro_f1, nll, ece; shares are from 0 to 1.
        confusion: (K, K)
        classes, body_parts, subjects: top-1 by name, for those with recordings; body parts and
            subjects are empty if they can't be inferred from the names of classes and recordings.
    """

    predictions: Predictions
    estimates: dict[str, Estimate]
    confusion: np.ndarray
    calibration: Calibration
    most_confused: list[Confusion]
    classes: dict[str, Estimate]
    body_parts: dict[str, Estimate]
    subjects: dict[str, Estimate]


def evaluate(
    predictions: Predictions,
    class_names: Sequence[str],
    subjects: Mapping[str, str] | None = None,
) -> Evaluation:
    """All results of a split's predictions.

    Args:
        subjects: the subject of each recording, by its name; not needed for names in FLAG3D's form.
    """
    subjects = subjects or {}
    scores, labels, right = predictions.scores, predictions.labels, predictions.right
    confusion = metrics.confusion_matrix(metrics.predictions(scores), labels, scores.shape[1])
    names = [class_names[int(label)] for label in labels]
    parts = [BODY_PART_OF.get(name) for name in names]
    people = [subjects.get(name) or subject(name) for name in predictions.names]
    by_part = _by_group(right, parts)
    by_person = _by_group(right, people)
    return Evaluation(
        predictions,
        intervals.summary(scores, labels),
        confusion,
        metrics.calibration(scores, labels),
        metrics.most_confused(confusion),
        _by_group(right, names),
        {part: by_part[part] for part in BODY_PARTS if part in by_part},
        # Sort person 2 before person 10.
        {person: by_person[person] for person in sorted(by_person, key=lambda p: (len(p), p))},
    )


def gap(near: Evaluation, far: Evaluation) -> dict[str, dict[str, Estimate]]:
    """The drop in top-1 from `near` to `far`: `overall`, by class and by body part.

    Returns:
        Group of rows (`overall`, `body_parts`, `classes`) to name to drop, 0.1 for ten points.
    """
    return {
        "overall": {"overall": intervals.difference(near.estimates["top1"], far.estimates["top1"])},
        "body_parts": _differences(near.body_parts, far.body_parts),
        "classes": _differences(near.classes, far.classes),
    }


def gap_splits(splits: Sequence[str]) -> list[str]:
    """The splits that are compared with `val` as a domain gap."""
    if "val" not in splits:
        return []
    return [split for split in splits if split not in ("train", "val") and "_ema" not in split]


def gap_metrics(final: Mapping[str, float]) -> dict[str, float]:
    """`gap/<split>/top1` in percentage points, from a run's `<split>/top1` in percent."""
    splits = [key.rpartition("/")[0] for key in final if key.endswith("/top1")]
    return {
        f"gap/{split}/top1": final["val/top1"] - final[f"{split}/top1"]
        for split in gap_splits(splits)
        if split.count("/") == 0
    }


def metric_values(split: str, evaluation: Evaluation) -> dict[str, float]:
    """`<split>/top1`, `<split>/top1_low`, `<split>/top1_high` and so on; shares in percent."""
    values = {}
    for name, estimate in evaluation.estimates.items():
        scale = 100.0 if name in PERCENT else 1.0
        values[f"{split}/{name}"] = scale * estimate.value
        values[f"{split}/{name}_low"] = scale * estimate.low
        values[f"{split}/{name}_high"] = scale * estimate.high
    return values


def gap_values(split: str, drop: Estimate) -> dict[str, float]:
    """`gap/<split>/top1`, `..._low`, `..._high` in percentage points."""
    return {
        f"gap/{split}/top1": 100 * drop.value,
        f"gap/{split}/top1_low": 100 * drop.low,
        f"gap/{split}/top1_high": 100 * drop.high,
    }


def _by_group(right: np.ndarray, groups: Sequence[str | None]) -> dict[str, Estimate]:
    known = [row for row, group in enumerate(groups) if group is not None]
    counts = metrics.group_counts(right[known], [groups[row] or "" for row in known])
    return {group: intervals.wilson(*count) for group, count in counts.items()}


def _differences(near: Mapping[str, Estimate], far: Mapping[str, Estimate]) -> dict[str, Estimate]:
    return {name: intervals.difference(near[name], far[name]) for name in near if name in far}
