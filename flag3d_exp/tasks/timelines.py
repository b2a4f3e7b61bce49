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
from flag3d_exp.data.windows import Track, windows
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.results.predictions import spreadsheet_text
from flag3d_exp.results.segmentation import segmentation_metrics
from flag3d_exp.results.timeline import UNKNOWN, Timeline, timeline
from flag3d_exp.skeletons.layout import Layout

log = logging.getLogger(__name__)
MAX_TOLD = 20  # segments that are printed


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
    found: Sequence[Track], made: Sequence[Timeline], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """What the JSON file holds: the segments of each person of each recording."""
    return [
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


def class_of(label: int, classes: Sequence[str]) -> str:
    """The name of a label, `unknown` among them."""
    return "unknown" if label == UNKNOWN else classes[label]


def write_timelines(
    folder: Path,
    found: Sequence[Track],
    made: Sequence[Timeline],
    classes: Sequence[str],
    layout: Layout,
) -> None:
    """Write the tables, a picture and the player of the timelines, and print the segments."""
    from flag3d_exp.report.timeline import player, timeline_figure

    rows = rows_of(found, made, classes)
    write_tables(folder, rows, found, made, classes)
    files.write_figure(folder / "timeline.png", timeline_figure(rows), 120)
    recordings = list({track.recording.name: track.recording for track in found}.values())
    files.write_text(folder / "timeline.html", player(recordings, rows, layout, made[0].hop))
    told = [(row, one) for row in rows for one in row["segments"]]
    for row, one in told[:MAX_TOLD]:
        where = f"{row['name']}, person {row['person']}, frames {one['first']} to {one['last']}"
        log.info("%s: %s %.1f %%", where, one["class"], 100 * one["confidence"])
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
        writer.writerow(["name", "person", "first", "last", "class", "label", "confidence"])
        for row in rows:
            for one in row["segments"]:
                facts = [one["first"], one["last"], spreadsheet_text(one["class"])]
                name = spreadsheet_text(row["name"])
                writer.writerow([name, row["person"], *facts, one["label"], one["confidence"]])
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
