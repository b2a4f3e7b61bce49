"""Choice of a clip's frames: uniform sampling (PoseC3D, arXiv 2104.13586, section 4).

Sizes: T frames of a clip. Indices are int64, into the frames of one recording.
"""

import math
from collections.abc import Sequence

import numpy as np

# PYSKL seeds NumPy's legacy generator with this before it draws test clips.
TEST_SEED = 255

Chance = np.random.Generator | np.random.RandomState


def fixed_indices(
    num_frames: int,
    clip_len: int,
    num_clips: int,
    part: tuple[float, float] = (1.0, 1.0),
) -> np.ndarray:
    """(num_clips, T) frames of the test clips: the same in every call, and the same as PYSKL's."""
    rng = np.random.RandomState(TEST_SEED)  # noqa: NPY002
    clips = np.arange(num_clips)
    starts = clips if num_frames < num_clips else clips * num_frames // num_clips
    return np.stack(
        [clip_indices(num_frames, clip_len, rng, part, start) for start in starts.tolist()]
    )


def clip_indices(
    num_frames: int,
    clip_len: int,
    rng: Chance,
    part: tuple[float, float] = (1.0, 1.0),
    start: int | None = None,
) -> np.ndarray:
    """(T,) frames: one from each of T equal segments; shorter recordings are repeated.

    Args:
        part: range of the share of the recording from which the clip is taken.
        start: first frame of a recording shorter than the clip; None draws one.
    """
    integers = rng.integers if isinstance(rng, np.random.Generator) else rng.randint
    share = part[0] + rng.random() * (part[1] - part[0])
    length = max(int(share * num_frames), 1)
    first = integers(num_frames - length + 1)
    if length < clip_len:
        begin = integers(length) if start is None else start
        return first + np.arange(begin, begin + clip_len) % length
    if length < 2 * clip_len:
        # Positions among the kept frames at which one frame is skipped.
        gaps = rng.choice(clip_len + 1, length - clip_len, replace=False)
        skipped = np.cumsum(np.bincount(gaps, minlength=clip_len + 1))
        return first + np.arange(clip_len) + skipped[:-1]
    edges = np.arange(clip_len + 1) * length // clip_len
    return first + edges[:-1] + integers(np.diff(edges))


def successive_indices(num_frames: int, clip_len: int, starts: np.ndarray) -> np.ndarray:
    """(..., T) successive frames from each of `starts` (...); the last frame is repeated."""
    return np.minimum(starts[..., None] + np.arange(clip_len), num_frames - 1)


def even_starts(num_frames: int, clip_len: int, num_clips: int) -> np.ndarray:
    """(num_clips,) evenly spaced first frames of clips of successive frames."""
    return np.rint(np.linspace(0, max(num_frames - clip_len, 0), num_clips)).astype(np.int64)


def even_times(
    num_frames: int, clip_len: int, share: float = 1.0, rng: np.random.Generator | None = None
) -> np.ndarray:
    """(T,) evenly spaced times in a recording, in frames; the first and last frame are included.

    Args:
        share: of the recording to use.
        rng: chooses where the part begins; None: it begins with the recording.
    """
    length = share * (num_frames - 1)
    start = 0.0 if rng is None else rng.uniform(0, num_frames - 1 - length)
    return np.linspace(start, start + length, clip_len)


def paced_indices(
    num_frames: int, clip_len: int, paces: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """(T,) evenly spaced frames of a clip with a random pace and start.

    The pace is between the first and the last of `paces`, uniform in the logarithm. A recording
    that is shorter than the clip is within the clip; frames outside it have indices below 0 or from
    `num_frames` on.
    """
    pace = float(np.exp(rng.uniform(np.log(paces[0]), np.log(paces[-1]))))
    spare = num_frames - pace * clip_len
    start = rng.uniform(min(spare, 0.0), max(spare, 0.0))
    return np.floor(start + pace * np.arange(clip_len) + 0.5).astype(np.int64)


def covering_indices(num_frames: int, clip_len: int, paces: Sequence[float]) -> np.ndarray:
    """(num_clips, T) evenly spaced frames of clips that cover a recording at each pace.

    The clips of a pace overlap by half. A single one, and only one, may reach outside the
    recording, equally far at both ends; its indices are as in `paced_indices`.
    """
    found = []
    for pace in paces:
        spare = num_frames - pace * clip_len
        num_clips = 1 + max(0, math.ceil(spare / (pace * clip_len / 2)))
        starts = np.linspace(0.0, spare, num_clips) if num_clips > 1 else np.array([spare / 2])
        found.append(np.floor(starts[:, None] + pace * np.arange(clip_len) + 0.5))
    return np.concatenate(found).astype(np.int64)


def warped_frames(indices: np.ndarray, num_frames: int, strength: float) -> np.ndarray:
    """The frames after a smooth change of tempo that keeps the first and the last frame.

    Args:
        strength: -1 < strength < 1; if positive, the first half is faster.
    """
    if num_frames < 3:
        return indices
    time = indices / (num_frames - 1)
    return np.rint((time + strength * time * (1 - time)) * (num_frames - 1)).astype(np.int64)
