"""Count repetitions of a movement without training, as similar cycles between peaks.

The joints' coordinates are smoothed, slow drift is removed, and they are projected on their
principal components. The peaks of a component divide time into cycles. The component and the sign
with the most similar cycles and the most motion are used. Cycles that differ from the median cycle
(a pause, a step aside) do not count. A count by autocorrelation serves as a baseline.

Sizes: T frames, V joints, D coordinates, P components.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from flag3d_exp.results.intervals import Estimate, bootstrap, wilson

SMOOTHING, DRIFT = 2.5, 45.0  # frames, the widths of the Gaussians; for 25 to 30 frames a second
NUM_COMPONENTS = 3
PROMINENCE = 0.3  # of a peak, as a share of the component's range
MIN_LENGTH = 6  # frames of a cycle
LIKENESS = 0.6  # minimum correlation of a cycle with the median cycle
MOTION = 0.5  # weight of a component's share of all motion, relative to its cycles' similarity
PHASES = 17  # number of phases at which cycles are compared
WHOLE = 0.5  # minimum share of a cycle at the start or end of a recording
MIN_FRAMES = 10  # minimum number of frames in which the person is visible
Cycles = list[tuple[int, int]]


def repetitions(keypoints: np.ndarray, visible: np.ndarray) -> Cycles:
    """First and last frame of each repetition, in order; repetitions do not overlap.

    Args:
        keypoints: (T, V, D) of one person.
        visible: (T, V) bool.
    """
    motion = components(keypoints, visible)
    if motion is None:
        return []
    best, chosen = -np.inf, []
    shares = (motion**2).sum(0) / max(float((motion**2).sum()), 1e-12)
    for number, share in enumerate(shares):
        for sign in (1, -1):
            borders = _peaks(sign * motion[:, number])
            if len(borders) < 3:
                continue
            likeness, spans = _likeness(motion, borders)
            value = float(likeness[1:-1].mean()) + MOTION * float(share)
            if value > best:
                best = value
                chosen = [span for span, r in zip(spans, likeness, strict=True) if r > LIKENESS]
    return [(first, last - 1) for first, last in chosen]


def autocorrelation_count(keypoints: np.ndarray, visible: np.ndarray) -> int:
    """Number of frames / first lag with maximum autocorrelation of the largest component, or 0."""
    from scipy.signal import find_peaks

    motion = components(keypoints, visible, drift=None)
    if motion is None:
        return 0
    num_frames = len(motion)
    signal = motion[:, 0] - motion[:, 0].mean()
    power = np.abs(np.fft.rfft(signal, 2 * num_frames)) ** 2
    correlation = np.fft.irfft(power)[:num_frames] / np.arange(num_frames, 0, -1)
    lags, _ = find_peaks(correlation[: num_frames // 2], height=0.1 * correlation[0])
    lags = lags[lags >= MIN_LENGTH]
    if not len(lags):
        return 0
    first = lags[correlation[lags] >= 0.9 * correlation[lags].max()][0]  # not a multiple of it
    return round(num_frames / int(first))


def components(
    keypoints: np.ndarray, visible: np.ndarray, drift: float | None = DRIFT
) -> np.ndarray | None:
    """(T, P) principal components of the motion, largest first; None if there is none.

    Joints that are visible in less than half of the frames are left out. Gaps of other joints are
    interpolated.

    Args:
        drift: width in frames of the Gaussian whose moving mean is subtracted; None: none is.
    """
    from scipy.ndimage import gaussian_filter1d  # slow import, needed by few commands

    num_frames = len(keypoints)
    seen = visible.any(1)
    if seen.sum() < MIN_FRAMES:
        return None
    joints = np.flatnonzero(visible[seen].mean(0) >= 0.5)
    frames = np.arange(num_frames)
    columns = []
    for joint in joints:
        there = visible[:, joint]
        for axis in range(keypoints.shape[2]):
            columns.append(np.interp(frames, frames[there], keypoints[there, joint, axis]))
    if not columns:
        return None
    moved = gaussian_filter1d(np.stack(columns, 1).astype(np.float64), SMOOTHING, axis=0)
    if drift is not None:
        moved = moved - gaussian_filter1d(moved, drift, axis=0)
    moved = moved - moved.mean(0)
    _, vectors = np.linalg.eigh(moved.T @ moved)
    largest = vectors[:, ::-1][:, :NUM_COMPONENTS]
    found = moved @ largest
    return found if float(np.abs(found).max()) > 1e-9 else None


def count_metrics(predicted: Sequence[int], true: Sequence[int]) -> dict[str, Estimate]:
    """`mae`, the mean of error / (true count + 0.1), and `obo`, the share of errors of at most one.

    They have 95 % intervals: the bootstrap's for `mae`, Wilson's for `obo`. Definitions: Hu et al.,
    TransRAC, CVPR 2022; Yao et al., PoseRAC, arXiv 2303.08450.
    """
    counts, truth = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    errors = np.abs(counts - truth)
    relative = errors / (truth + 0.1)

    def mean(weights: np.ndarray) -> np.ndarray:
        return weights @ relative / weights.sum(1)

    return {
        "mae": bootstrap({"mae": mean}, len(truth))["mae"],
        "obo": wilson(int((errors <= 1).sum()), len(truth)),
    }


def estimates_line(found: Mapping[str, Estimate]) -> str:
    """Metrics with their intervals, in one line."""
    return ", ".join(
        f"{name.upper()} {one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
        for name, one in found.items()
    )


def _peaks(signal: np.ndarray) -> np.ndarray:
    """Frames of the peaks of a signal (T,)."""
    from scipy.signal import find_peaks

    low, high = np.percentile(signal, [5, 95])
    prominence = PROMINENCE * float(high - low)
    return find_peaks(signal, prominence=max(prominence, 1e-12), distance=MIN_LENGTH)[0]


def _likeness(motion: np.ndarray, borders: np.ndarray) -> tuple[np.ndarray, Cycles]:
    """Correlation of each cycle with the median cycle, and its first frame and the one after it.

    A movement at the start or end of a recording has no outer peak. So the intervals of median
    length before the first border and after the last one are added as first and last cycle; their
    correlation is -1 if the recording cuts them.
    """
    length = round(float(np.median(np.diff(borders))))
    edges = borders.tolist()
    spans = list(zip(edges[:-1], edges[1:], strict=True))
    before = (max(0, edges[0] - length), edges[0])
    after = (edges[-1], min(len(motion) - 1, edges[-1] + length))
    cycles = np.stack([_resampled_components(motion, *span) for span in (before, *spans, after)])
    flat = cycles - cycles.mean(1, keepdims=True)
    middle = np.median(cycles[1:-1], axis=0)
    middle = middle - middle.mean()
    norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(middle)
    likeness = flat @ middle / np.maximum(norms, 1e-12)
    for at, (first, last) in ((0, before), (-1, after)):
        if last - first < WHOLE * length:
            likeness[at] = -1
    return likeness, [before, *spans, after]


def _resampled_components(motion: np.ndarray, first: int, last: int) -> np.ndarray:
    """(PHASES * P,) the components at evenly spaced times."""
    times = np.linspace(first, last, PHASES)
    whole = np.floor(times).astype(int).clip(0, max(len(motion) - 2, 0))
    share = (times - whole)[:, None]
    following = motion[np.minimum(whole + 1, len(motion) - 1)]
    return (motion[whole] * (1 - share) + following * share).ravel()
