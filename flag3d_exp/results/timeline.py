"""Join scores of overlapping windows to a timeline: smoothed scores and segments of classes.

Time is counted in cells of `hop` frames. Sizes: W windows, K classes, B cells, T frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LEAST = 1e-3  # smallest score that counts in a sequence of windows
SKIPPED = -20.0  # value of a cell without a window, worse than that of any window
UNKNOWN, ABSENT = -1, -2  # special labels: no class is likely enough; the person is not visible


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of one class.

    Args:
        first, last: its first and last frame.
        label: of the class, or `UNKNOWN`.
        confidence: the mean score of the class, or of the likeliest class if it is unknown.
    """

    first: int
    last: int
    label: int
    confidence: float


@dataclass(frozen=True)
class Timeline:
    """The predicted classes of a person over time.

    Args:
        scores: (B, K) of each cell; 0 where the person is not visible.
        labels: (B,) of each cell; may be `UNKNOWN` or `ABSENT`.
        hop: frames of a cell; the last one may be shorter.
        num_frames: T.
    """

    scores: np.ndarray
    labels: np.ndarray
    hop: int
    num_frames: int

    @property
    def segments(self) -> list[Segment]:
        """Segments of equal labels, except `ABSENT`."""
        found = []
        for start, stop in runs(self.labels):
            label = int(self.labels[start])
            if label == ABSENT:
                continue
            own = self.scores[start:stop]
            likely = own.max(1) if label == UNKNOWN else own[:, label]
            last = min(stop * self.hop, self.num_frames) - 1
            found.append(Segment(start * self.hop, last, label, float(likely.mean())))
        return found

    @property
    def frame_labels(self) -> np.ndarray:
        """(T,) label of each frame."""
        return self.labels.repeat(self.hop)[: self.num_frames]


def window_starts(num_frames: int, window: int, hop: int) -> np.ndarray:
    """(W,) first frames of the windows: every `hop` frames, and the last one at the end."""
    last = max(0, num_frames - window)
    starts = np.arange(0, last + 1, hop)
    return starts if starts[-1] == last else np.append(starts, last)


def cell_scores(
    scores: np.ndarray, starts: np.ndarray, window: int, hop: int, num_frames: int
) -> np.ndarray:
    """(B, K) weighted mean of the scores (W, K) of the windows that cover each cell.

    A window's weight falls linearly from its middle to its ends. Cells without a window are 0.

    Args:
        starts: (W,) first frames of the windows.
    """
    num_cells = -(-num_frames // hop)
    window = min(window, num_frames)
    middles = np.minimum(np.arange(num_cells) * hop + hop / 2, num_frames - 0.5)
    total = np.zeros((num_cells, scores.shape[1]))
    weights = np.zeros(num_cells)
    for start, row in zip(starts.tolist(), scores, strict=True):
        first, stop = start // hop, min(num_cells, -(-(start + window) // hop))
        distance = np.abs(middles[first:stop] - (start + window / 2)) / (window / 2)
        weight = np.maximum(1.0 - distance, 0) + 1e-3 * (distance <= 1)
        total[first:stop] += weight[:, None] * row
        weights[first:stop] += weight
    return total / np.maximum(weights, 1e-12)[:, None]


def tiled_scores(
    scores: np.ndarray, starts: np.ndarray, lengths: np.ndarray, hop: int, present: np.ndarray
) -> np.ndarray:
    """(B, K) scores of the windows that cover the cells without overlap and are surest.

    Of all sequences of windows, that with the largest sum of length * log(largest score) is found
    by dynamic programming: a window over a border of two actions is less sure than one of either
    side, whatever their lengths. A window may be cut where the person appears or disappears, and
    the last one at its start. Cells without a window are 0.

    Args:
        scores: (W, K).
        starts, lengths: (W,) of the windows, in frames.
        present: (B,) bool, cells in which the person is visible.
    """
    made = np.zeros((len(present), scores.shape[1]))
    sure = np.log(np.maximum(scores.max(1), LEAST))
    begins, ends = starts // hop, -(-(starts + lengths) // hop)
    for first, stop in runs(present):
        if not present[first]:
            continue
        inside = np.flatnonzero((begins < stop) & (ends > first))
        options: list[list[tuple[int, int]]] = [[] for _ in range(stop - first + 1)]
        for index in inside.tolist():
            end = min(int(ends[index]), stop)
            options[end - first].append((max(int(begins[index]), first) - first, index))
        for begin, end, window in surest_windows(options, sure):
            made[first + begin : first + end] = scores[window]
    return made


def surest_windows(
    options: Sequence[Sequence[tuple[int, int]]], sure: np.ndarray
) -> Iterator[tuple[int, int, int]]:
    """First cell, the one after the last, and the window, of the surest sequence, last one first.

    Args:
        options: for each border of cells, the first cell and the number of the windows that end
            there; those that end at the last border may also begin later.
        sure: (W,) value of a cell of each window.
    """
    last = len(options) - 1
    total = np.zeros(last + 1)
    chosen: list[tuple[int, int | None]] = [(0, None)] * (last + 1)  # first cell, window
    for end in range(1, last + 1):
        total[end], chosen[end] = total[end - 1] + SKIPPED, (end - 1, None)
        for first, window in options[end]:
            for begin in range(first, end) if end == last else (first,):
                value = total[begin] + (end - begin) * sure[window]
                if value > total[end]:
                    total[end], chosen[end] = value, (begin, window)
    end = last
    while end:
        begin, window = chosen[end]
        if window is not None:
            yield begin, end, window
        end = begin


def timeline(
    scores: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    hop: int,
    seen: np.ndarray,
    confidence: float,
    min_length: int,
) -> Timeline:
    """The timeline of one person.

    Args:
        scores: (W, K) of the windows in which the person is visible.
        starts: (W,) first frames of these windows.
        lengths: (W,) of the windows; if there are several lengths, the windows are joined by
            `tiled_scores`, else by `cell_scores`.
        seen: (T,) bool, frames in which the person is visible.
        confidence: if the score is below it, the class is unknown.
        min_length: frames; shorter segments are merged with a neighbour, and shorter absences are
            ignored.
    """
    num_frames = len(seen)
    present = np.add.reduceat(seen, np.arange(0, num_frames, hop)) > 0
    for start, stop in runs(present):
        inside = start > 0 and stop < len(present)
        if not present[start] and inside and (stop - start) * hop < min_length:
            present[start:stop] = True
    if len(np.unique(lengths)) > 1:
        means = tiled_scores(scores, starts, lengths, hop, present)
    else:
        means = cell_scores(scores, starts, int(lengths[0]), hop, num_frames)
    present &= means.any(1)
    labels = np.where(means.max(1) >= confidence, means.argmax(1), UNKNOWN)
    labels[~present] = ABSENT
    means[~present] = 0
    labels = without_short(labels, means, -(-min_length // hop), confidence)
    return Timeline(means, labels, hop, num_frames)


def without_short(
    labels: np.ndarray, scores: np.ndarray, min_cells: int, confidence: float
) -> np.ndarray:
    """Labels (B,) with runs of at least `min_cells`, except runs between absences.

    The shortest runs are relabelled first. Each gets the label of the neighbour with the higher
    score in the run; the score of an unknown neighbour is `confidence`.
    """
    labels = labels.copy()
    for length in range(1, min_cells):
        bounds = list(runs(labels))
        for at, (start, stop) in enumerate(bounds):
            begin = start  # earlier runs may have been merged into this one
            while begin > 0 and labels[begin - 1] == labels[start]:
                begin -= 1
            if stop - begin > length or labels[start] == ABSENT:
                continue
            beside = []
            if begin > 0 and labels[begin - 1] != ABSENT:
                beside.append(int(labels[begin - 1]))
            if at + 1 < len(bounds) and labels[stop] != ABSENT:
                beside.append(int(labels[stop]))
            if beside:
                own = scores[begin:stop].mean(0)
                likely = [confidence if one == UNKNOWN else own[one] for one in beside]
                labels[begin:stop] = beside[int(np.argmax(likely))]
    return labels


def runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of equal values (n,)."""
    borders = np.flatnonzero(values[1:] != values[:-1]) + 1
    edges = [0, *borders.tolist(), len(values)]
    return zip(edges[:-1], edges[1:], strict=True)
