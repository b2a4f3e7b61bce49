"""Join what a network says about clips of several paces to a density of repetitions over frames.

At each pace, clips cover the recording. For each frame of a clip the network says whether it is
part of a repetition, and how long the repetition is; it is sure of this if the pace suits the
length. The density is 1 / length in each frame of a repetition and 0 in other frames. Its sum is
the count, and its running sum passes the borders between repetitions.

Sizes: W clips, T frames of a clip, T0 frames of the recording, P paces.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated

import numpy as np

from flag3d_exp import bounds

Spans = list[tuple[int, int]]
SAME_PACE = 0.04  # largest difference of the logarithms of the paces of one group of clips
LEAST = 1e-9
SHORTEST = 2.0  # frames of the recording in a repetition, whatever an untrained network says


@dataclass(frozen=True)
class Joining:
    """How the paces are joined.

    Args:
        threshold: a frame is part of a repetition if this probability is reached at some pace.
        sharpness: exponent of a pace's mean probability in its weight.
        length: the length in frames of a clip that a network judges best; paces at which
            repetitions have this length have the largest weight.
        width: standard deviation of the logarithm of the length in this weight.
        pause: gaps between repetitions that are shorter than this many repetitions are closed.
        excess: repetitions by which a run is too long on average, because its ends are unsharp.
        least: smallest number of repetitions of a run, before it is rounded; shorter ones are left
            out.
    """

    threshold: Annotated[float, "> 0, < 1"] = 0.5
    sharpness: Annotated[float, ">= 0"] = 2.0
    length: Annotated[float, "> 0"] = 14.0
    width: Annotated[float, "> 0"] = 0.6
    pause: Annotated[float, ">= 0"] = 0.5
    excess: Annotated[float, ">= 0, < 1"] = 0.0
    least: Annotated[float, ">= 0"] = 0.6

    def __post_init__(self) -> None:
        bounds.check(self, "problem.joining")


@dataclass(frozen=True)
class Density:
    """A density of repetitions.

    Args:
        values: (T0,) per frame; 0 outside the runs.
        runs: first frame of each run of repetitions, and the one after it.
        excess: see `Joining`.
    """

    values: np.ndarray
    runs: Spans
    excess: float = 0.0

    @cached_property
    def spans(self) -> Spans:
        """First and last frame of each repetition, in order.

        A run is divided where the running sum of the density passes equal shares of its sum, whose
        number is the rounded sum without the excess.
        """
        found: Spans = []
        for start, stop in self.runs:
            total = np.concatenate([[0.0], np.cumsum(self.values[start:stop])])
            number = max(1, math.floor(float(total[-1]) - self.excess + 0.5))
            levels = np.linspace(0, total[-1], number + 1)
            borders = start + np.rint(np.interp(levels, total, np.arange(len(total)))).astype(int)
            found += [(first, max(first, after - 1)) for first, after in pairwise(borders.tolist())]
        return found

    @property
    def count(self) -> int:
        """The number of repetitions."""
        return len(self.spans)


def joined_density(
    outputs: np.ndarray, frames: np.ndarray, num_frames: int, how: Joining
) -> Density:
    """The density of a recording.

    Args:
        outputs: (W, T, 2), logits and log lengths in frames of the clip; the clips of a pace are
            successive.
        frames: (W, T) numbers of the clips' frames in the recording.
        num_frames: T0.
    """
    logits, log_lengths, paces = by_pace(outputs, frames, num_frames)
    sure = 1 / (1 + np.exp(-logits))  # (P, T0)
    deviation = (log_lengths - np.log(paces * how.length)[:, None]) / how.width
    weights = sure.mean(1, keepdims=True) ** how.sharpness * sure * np.exp(-(deviation**2) / 2)
    log_length = (weights * log_lengths).sum(0) / np.maximum(weights.sum(0), LEAST)
    rates = np.exp(-np.maximum(log_length, math.log(SHORTEST)))
    repeating = sure.max(0) > how.threshold
    for start, stop in runs_of(~repeating):
        inside = start > 0 and stop < num_frames
        if inside and (stop - start) * (rates[start - 1] + rates[stop]) / 2 < how.pause:
            rates[start:stop] = np.linspace(rates[start - 1], rates[stop], stop - start)
            repeating[start:stop] = True
    values = np.where(repeating, rates, 0.0)
    runs = [
        (start, stop)
        for start, stop in runs_of(repeating)
        if values[start:stop].sum() - how.excess >= how.least
    ]
    for start, stop in set(runs_of(repeating)) - set(runs):
        values[start:stop] = 0
    return Density(values, runs, how.excess)


def by_pace(
    outputs: np.ndarray, frames: np.ndarray, num_frames: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits and log lengths (P, T0), the lengths in frames of the recording, and paces (P,).

    A clip's weight falls linearly from its middle to its ends. Arguments as in `joined_density`.
    """
    clip_len = frames.shape[1]
    rates = (frames[:, -1] - frames[:, 0]) / (clip_len - 1)  # (W,)
    is_new = np.abs(np.diff(np.log(rates), prepend=np.inf)) > SAME_PACE
    groups = np.cumsum(is_new) - 1
    totals = np.zeros((groups[-1] + 1, 2, num_frames))
    weights = np.full((groups[-1] + 1, 1, num_frames), LEAST)
    weight_of = 1.01 - np.abs(np.linspace(-1, 1, clip_len))
    for group, own, output, rate in zip(groups, frames, outputs, rates, strict=True):
        first, last = max(0, math.ceil(own[0])), min(num_frames - 1, int(own[-1]))
        grid = np.arange(first, last + 1)
        weight = np.interp(grid, own, weight_of)
        values = output + [0.0, np.log(rate)]
        for row in range(2):
            totals[group, row, grid] += weight * np.interp(grid, own, values[:, row])
        weights[group, 0, grid] += weight
    logits, log_lengths = (totals / weights).swapaxes(0, 1)
    return logits, log_lengths, rates[is_new]


def consensus(network: Spans, rules: Spans, autocorrelation: int) -> Spans:
    """The repetitions, whose number is the median of three counts.

    Each method makes gross errors of its own, such as a multiple of the true count; the median is
    wrong only if two of them are wrong in the same direction.

    Args:
        network, rules: first and last frame of each repetition that this method found.
        autocorrelation: a count whose frames are not known.
    """
    number = sorted((len(network), len(rules), autocorrelation))[1]
    for spans in (network, rules):
        if len(spans) == number:
            return spans
    return divided(network or rules, number)


def divided(spans: Spans, number: int) -> Spans:
    """The frames of consecutive repetitions, divided into another number of them.

    Args:
        spans: at least one.
        number: at least 1.
    """
    levels = np.linspace(0, len(spans), number + 1)
    found: Spans = []
    for low, high in pairwise(levels.tolist()):
        first, last = math.floor(low + LEAST), math.ceil(high - LEAST) - 1
        (start, after), (begin, end) = spans[first], spans[last]
        start += round((low - first) * (after + 1 - start))
        stop = begin + round((high - last) * (end + 1 - begin))
        found.append((start, max(start, stop - 1)))
    return found


def runs_of(chosen: np.ndarray) -> Spans:
    """First frame of each run of chosen frames (T0,), and the one after it."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(np.int8), [0]])))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))
