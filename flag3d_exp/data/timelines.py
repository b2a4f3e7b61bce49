"""Join scores of windows to timelines of persons, with segments and counts of repetitions.

Sizes: W windows, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flag3d_exp.data.poses import visible
from flag3d_exp.data.windows import Track
from flag3d_exp.errors import UserError
from flag3d_exp.results.predictions import CONFIDENCE
from flag3d_exp.results.repetitions import repetitions
from flag3d_exp.results.timeline import UNKNOWN, Timeline, timeline

MIN_SCORE = 0.1  # of a joint, for counting


@dataclass(frozen=True)
class Windows:
    """How to cut long recordings into windows and join the predictions; lengths are frames.

    Args:
        window: length of a window, which is predicted at once.
        more_windows: further lengths. With several lengths, the timeline is the sequence of windows
            without overlap in whose classes the network is surest.
        hop: frames from one window to the next; the time step of the timeline.
        confidence: if the score is below it, the class is `unknown`.
        min_length: minimum length of a segment.
    """

    window: int
    hop: int = 10
    confidence: float = CONFIDENCE
    min_length: int = 20
    more_windows: Sequence[int] = ()

    def __post_init__(self) -> None:
        shortest = min(self.lengths)
        if self.hop > shortest:
            key = "task.window" if shortest == self.window else "task.more_windows"
            raise UserError(
                f"`task.hop` must be at most `{key}`, or some frames are in no window; got "
                f"{self.hop} and {shortest}."
            )

    @property
    def lengths(self) -> list[int]:
        """The lengths of all windows, rising."""
        return sorted({self.window, *self.more_windows})


def timelines(found: Sequence[Track], scores: np.ndarray, how: Windows) -> list[Timeline]:
    """The timeline of each track.

    Args:
        scores: (W, K) of the windows of all tracks, concatenated.
    """
    made, at = [], 0
    for track in found:
        own = scores[at : at + len(track.starts)]
        at += len(track.starts)
        made.append(
            timeline(
                own,
                track.starts,
                track.lengths,
                how.hop,
                track.seen,
                confidence=how.confidence,
                min_length=how.min_length,
            )
        )
    return made


def rows_of(
    found: Sequence[Track], made: Sequence[Timeline], classes: Sequence[str], counted: bool = False
) -> list[dict[str, Any]]:
    """The rows of the JSON file: the segments of each person of each recording.

    Args:
        counted: also count the repetitions within each segment.
    """
    rows = [
        {
            "name": track.recording.name,
            "person": track.person,
            "num_frames": one.num_frames,
            "segments": [
                {
                    "first": segment.first,
                    "last": segment.last,
                    "class": class_of(segment.label, classes),
                    "label": segment.label,
                    "confidence": round(segment.confidence, 6),
                }
                for segment in one.segments
            ],
        }
        for track, one in zip(found, made, strict=True)
    ]
    for row, track in zip(rows, found, strict=True) if counted else ():
        add_repetitions(row, track)
    return rows


def add_repetitions(row: dict[str, Any], track: Track) -> None:
    """Add `repetitions` to a row, and `count` to its segments of a known class."""
    alone = track.alone
    joints = visible(alone.keypoints, alone.scores, MIN_SCORE)
    row["repetitions"] = []
    for segment in row["segments"]:
        frames = slice(segment["first"], segment["last"] + 1)
        spans = []
        if segment["label"] != UNKNOWN:
            spans = repetitions(alone.keypoints[0, frames], joints[0, frames])
        segment["count"] = len(spans)
        row["repetitions"] += [
            {"first": segment["first"] + first, "last": segment["first"] + last}
            for first, last in spans
        ]


def class_of(label: int, classes: Sequence[str]) -> str:
    """The name of a label, which may be `unknown`."""
    return "unknown" if label == UNKNOWN else classes[label]
