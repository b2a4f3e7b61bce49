"""Cut recordings of any length into windows of one person each, for separate predictions.

Sizes: M persons, T frames, V joints, C coordinates, W windows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import visible
from flag3d_exp.results.timeline import window_starts


@dataclass(frozen=True)
class Track:
    """A person of a recording, and the windows in which the person is visible.

    Args:
        seen: (T,) bool, frames in which the person has a visible joint.
        starts: (W,) first frames of the windows.
        lengths: (W,) their lengths, at most that of the recording.
    """

    recording: Recording
    person: int
    seen: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @property
    def alone(self) -> Recording:
        """The recording with only this person; arrays are views."""
        return of_person(self.recording, self.person)


def of_person(recording: Recording, person: int) -> Recording:
    """The recording with only this person; arrays are views."""
    own = slice(person, person + 1)
    scores = None if recording.scores is None else recording.scores[own]
    return replace(recording, keypoints=recording.keypoints[own], scores=scores)


def tracks(
    recordings: Sequence[Recording],
    lengths: Sequence[int],
    hop: int,
    score_threshold: float | None = None,
) -> list[Track]:
    """The persons of all recordings, without those who are never visible.

    Args:
        lengths: of the windows; there are windows of each length every `hop` frames.
        score_threshold: joints with a score of at most this are missing; None means 0.
    """
    found = []
    for recording in recordings:
        num_frames = recording.keypoints.shape[1]
        fitting = sorted({min(length, num_frames) for length in lengths})
        each = [window_starts(num_frames, length, hop) for length in fitting]
        starts, sizes = np.concatenate(each), np.repeat(fitting, [len(one) for one in each])
        for person in range(len(recording.keypoints)):
            own = slice(person, person + 1)
            scores = None if recording.scores is None else recording.scores[own]
            joints = visible(recording.keypoints[own], scores, score_threshold)
            seen = joints[0].any(1)
            counts = np.concatenate([[0], np.cumsum(seen)])
            there = counts[starts + sizes] > counts[starts]
            if there.any():
                found.append(Track(recording, person, seen, starts[there], sizes[there]))
    return found


def windows(found: Sequence[Track]) -> list[Recording]:
    """The windows of all tracks as recordings, whose arrays are views of the tracks' arrays."""
    made = []
    for track in found:
        alone = track.alone
        for start, length in zip(track.starts.tolist(), track.lengths.tolist(), strict=True):
            frames = slice(start, start + length)
            scores = None if alone.scores is None else alone.scores[:, frames]
            keypoints = alone.keypoints[:, frames]
            made.append(replace(alone, keypoints=keypoints, scores=scores, repetitions=None))
    return made
