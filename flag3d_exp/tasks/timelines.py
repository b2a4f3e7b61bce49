"""Timelines of long recordings: windows of each person are predicted and joined.

What `task=predict` and `task=evaluate` share when `task.window` is given.
"""

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp import console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.formats.truth import Stretch, frame_labels
from flag3d_exp.data.inputs import input_clips
from flag3d_exp.data.poses import visible
from flag3d_exp.data.windows import Track, windows
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.results.predictions import spreadsheet_text
from flag3d_exp.results.repetitions import repetitions
from flag3d_exp.results.segmentation import segmentation_metrics
from flag3d_exp.results.timeline import UNKNOWN, Timeline, timeline
from flag3d_exp.skeletons.layout import Layout

log = logging.getLogger(__name__)
MAX_TOLD = 20  # segments that are printed
MIN_SCORE = 0.1  # of a joint, for counting


@dataclass(frozen=True)
class Windows:
    """How long recordings are cut and joined again; lengths are frames.

    Args:
        window: length of what is predicted at once.
        hop: from one window to the next; the unit of the timeline.
        confidence: below it the class is `unknown`.
        min_length: of a segment.
    """

    window: int
    hop: int
    confidence: float
    min_length: int

    def __post_init__(self) -> None:
        if self.hop > self.window:
            raise UserError(
                "`task.hop` must be at most `task.window`, else frames are under no window; got "
                f"{self.hop} and {self.window}."
            )


def window_clips(found: Sequence[Track], window: int, experiment: Experiment) -> ClipDataset:
    """The windows of all tracks, one after the other, as a network's clips.

    Raises:
        UserError: there are none, or they do not fit the network.
    """
    if not found:
        raise UserError("`task.input`: nobody is seen in any recording.")
    made = experiment.made
    parts = windows(found, window)
    return input_clips(parts, made("dataset"), made("pipeline"), made("stream"), experiment.seed)


def judged(
    found: Sequence[Track],
    made: Sequence[Timeline],
    truth: Mapping[tuple[str, int], Sequence[Stretch]],
) -> dict[str, float]:
    """The metrics of the timelines that the truth names, see `results.segmentation`.

    Raises:
        UserError: the truth names a recording, a person or a frame that is not there.
    """
    known = {
        (track.recording.name, track.person): one for track, one in zip(found, made, strict=True)
    }
    predicted, true = [], []
    for (name, person), stretches in truth.items():
        if (name, person) not in known:
            names = [other for other, _ in known]
            raise UserError(
                f"`task.truth` names person {person} of {name!r:.80}, who is not in "
                f"`task.input`.{nearest(name, names)}"
            )
        one = known[name, person]
        true.append(frame_labels(stretches, one.num_frames, name))
        predicted.append(np.maximum(one.frame_labels, UNKNOWN))  # nobody seen: no class
    return segmentation_metrics(predicted, true)


def timelines(found: Sequence[Track], scores: np.ndarray, how: Windows) -> list[Timeline]:
    """The timeline of each track.

    Args:
        scores: (W, K) of the windows of all tracks, one after the other.
    """
    made, at = [], 0
    for track in found:
        own = scores[at : at + len(track.starts)]
        at += len(track.starts)
        made.append(
            timeline(
                *(own, track.starts, how.window, how.hop, track.seen),
                confidence=how.confidence,
                min_length=how.min_length,
            )
        )
    return made


def rows_of(
    found: Sequence[Track], made: Sequence[Timeline], classes: Sequence[str], counted: bool = False
) -> list[dict[str, Any]]:
    """What the JSON file holds: the segments of each person of each recording.

    Args:
        counted: count the repetitions within each segment of a class, too.
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
    """Add `repetitions` to a row, and `count` to its segments; none where the class is unknown."""
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
    """The name of a label, `unknown` among them."""
    return "unknown" if label == UNKNOWN else classes[label]


def write_timelines(
    folder: Path,
    found: Sequence[Track],
    made: Sequence[Timeline],
    classes: Sequence[str],
    layout: Layout,
    counted: bool = False,
) -> None:
    """Write the tables, a picture and the player of the timelines, and print the segments.

    Args:
        counted: count the repetitions within each segment, too.
    """
    from flag3d_exp.report.timeline import player, timeline_figure

    rows = rows_of(found, made, classes, counted)
    write_tables(folder, rows, found, made, classes)
    files.write_figure(folder / "timeline.png", timeline_figure(rows), 120)
    recordings = list({track.recording.name: track.recording for track in found}.values())
    files.write_text(folder / "timeline.html", player(recordings, rows, layout, made[0].hop))
    told = [(row, one) for row in rows for one in row["segments"]]
    for row, one in told[:MAX_TOLD]:
        where = f"{row['name']}, person {row['person']}, frames {one['first']} to {one['last']}"
        count = f", {one['count']} repetitions" if "count" in one else ""
        log.info("%s: %s %.1f %%%s", where, one["class"], 100 * one["confidence"], count)
    if len(told) > MAX_TOLD:
        log.info("and %d more segments", len(told) - MAX_TOLD)
    console.say(f"timelines: {folder / 'timeline.html'} and timeline.csv, .json, .png beside it")


def write_tables(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    found: Sequence[Track],
    made: Sequence[Timeline],
    classes: Sequence[str],
) -> None:
    """Write `timeline.json`, `timeline.csv` (a row for each segment) and `timeline_scores.csv`.

    The last has a row for each `task.hop` frames of a person, with the score of every class; none
    where the person is not seen.
    """
    files.write_json(folder / "timeline.json", list(rows))
    with files.replacing(folder / "timeline.csv") as temporary, _opened(temporary) as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        columns = ["name", "person", "first", "last", "class", "label", "confidence"]
        writer.writerow([*columns, "count"])
        for row in rows:
            for one in row["segments"]:
                facts = [one["first"], one["last"], spreadsheet_text(one["class"])]
                name = spreadsheet_text(row["name"])
                facts += [one["label"], one["confidence"], one.get("count", "")]
                writer.writerow([name, row["person"], *facts])
    with files.replacing(folder / "timeline_scores.csv") as temporary, _opened(temporary) as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(["name", "person", "first", *map(spreadsheet_text, classes)])
        for track, one in zip(found, made, strict=True):
            name = spreadsheet_text(track.recording.name)
            rounded = np.round(one.scores, 4).tolist()
            for cell, scores in enumerate(rounded):
                if any(scores):
                    writer.writerow([name, track.person, cell * one.hop, *scores])


def _opened(path: Path) -> Any:
    return open(path, "w", newline="", encoding="utf-8")
