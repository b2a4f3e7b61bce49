"""Metrics of temporal segmentation: frame accuracy, edit score and F1, as in MS-TCN.

Definitions: Farha and Gall, MS-TCN, CVPR 2019; Lea et al., CVPR 2017. Frames without a class
(negative labels) count in the frame accuracy but are not segments. Size: T frames.
"""

from collections.abc import Sequence

import numpy as np

from flag3d_exp.results.timeline import runs

OVERLAPS = (10, 25, 50)  # percent, intersection over union


def segmentation_metrics(
    predicted: Sequence[np.ndarray], true: Sequence[np.ndarray]
) -> dict[str, float]:
    """`frame_accuracy`, `edit` and `f1_10`, `f1_25`, `f1_50`, in percent.

    Frame accuracy is over all frames, F1 over the segments of all recordings, and the edit score
    the mean over recordings.

    Args:
        predicted, true: labels (T,) of each recording's frames.
    """
    right = sum(int((one == other).sum()) for one, other in zip(predicted, true, strict=True))
    pairs = [(segments(p), segments(t)) for p, t in zip(predicted, true, strict=True)]
    metrics = {
        "frame_accuracy": 100 * right / sum(map(len, true)),
        "edit": float(np.mean([edit_score(p, t) for p, t in pairs])),
    }
    for overlap in OVERLAPS:
        counts = np.sum([matches(p, t, overlap / 100) for p, t in pairs], axis=0)
        metrics[f"f1_{overlap}"] = f1_score(*counts.tolist())
    return metrics


def segments(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Label, start and stop of each run of equal labels (T,) with a class."""
    return [(int(labels[a]), a, b) for a, b in runs(labels) if labels[a] >= 0]


def edit_score(
    predicted: Sequence[tuple[int, int, int]], true: Sequence[tuple[int, int, int]]
) -> float:
    """Edit score in percent: 100 minus the share of segments to insert, delete or replace.

    Only the order of segments counts. It is 100 if both have no segments.
    """
    first, second = [one[0] for one in predicted], [one[0] for one in true]
    longest = max(len(first), len(second))
    if not longest:
        return 100.0
    above = list(range(len(second) + 1))
    for row, label in enumerate(first, start=1):
        current = [row]
        for column, other in enumerate(second, start=1):
            replaced = above[column - 1] + (label != other)
            current.append(min(above[column] + 1, current[-1] + 1, replaced))
        above = current
    return 100 * (1 - above[-1] / longest)


def matches(
    predicted: Sequence[tuple[int, int, int]],
    true: Sequence[tuple[int, int, int]],
    overlap: float,
) -> tuple[int, int, int]:
    """Numbers of true positives, false positives and false negatives.

    A predicted segment is a true positive if its overlap with the best matching true segment of its
    class is at least `overlap`, and no earlier segment was matched with that one.
    """
    hits = [False] * len(true)
    positives = 0
    for label, start, stop in predicted:
        shares = [
            max(0, min(stop, end) - max(start, begin)) / (max(stop, end) - min(start, begin))
            * (label == other)
            for other, begin, end in true
        ]  # fmt: skip
        best = int(np.argmax(shares)) if shares else -1
        if best >= 0 and shares[best] >= overlap and not hits[best]:
            hits[best] = True
            positives += 1
    return positives, len(predicted) - positives, len(true) - sum(hits)


def f1_score(positives: int, false_positives: int, false_negatives: int) -> float:
    """F1 in percent; 100 if there are neither true nor predicted segments."""
    wrong = false_positives + false_negatives
    return 100 * 2 * positives / (2 * positives + wrong) if positives + wrong else 100.0
