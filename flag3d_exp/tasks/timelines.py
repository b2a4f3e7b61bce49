"""Timelines of long recordings: windows of each person are predicted and joined.

`task=predict` and `task=evaluate` share this code.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp import console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.formats.truth import Stretch, frame_labels
from flag3d_exp.data.inputs import input_clips
from flag3d_exp.data.timelines import rows_of
from flag3d_exp.data.windows import Track, windows
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.results.segmentation import segmentation_metrics
from flag3d_exp.results.timeline import UNKNOWN, Timeline
from flag3d_exp.skeletons.layout import Layout

log = logging.getLogger(__name__)
MAX_TOLD = 20  # segments that are printed


def window_clips(found: Sequence[Track], experiment: Experiment) -> ClipDataset:
    """The windows of all tracks, in order, as a network's clips.

    Raises:
        UserError: there are no windows, or they do not fit the network.
    """
    if not found:
        raise UserError("`task.input`: nobody is seen in any recording.")
    made = experiment.build
    parts = windows(found)
    return input_clips(parts, made("dataset"), made("pipeline"), made("stream"), experiment.seed)


def timeline_metrics(
    found: Sequence[Track],
    made: Sequence[Timeline],
    truth: Mapping[tuple[str, int], Sequence[Stretch]],
) -> dict[str, float]:
    """The metrics of the timelines that the truth names, see `results.segmentation`.

    Raises:
        UserError: the truth names a recording, a person or a frame that does not exist.
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
        # A frame without the person has no class.
        predicted.append(np.maximum(one.frame_labels, UNKNOWN))
    return segmentation_metrics(predicted, true)


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
        counted: also count the repetitions within each segment.
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
    console.say(f"timelines: {folder / 'timeline.html'}, with timeline.csv, .json and .png")


def write_tables(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    found: Sequence[Track],
    made: Sequence[Timeline],
    classes: Sequence[str],
) -> None:
    """Write `timeline.json`, `timeline.csv` (a row for each segment) and `timeline_scores.csv`.

    `timeline_scores.csv` has a row for every `task.hop` frames of a person, with the score of every
    class. Frames in which the person is not seen have no row.
    """
    files.write_json(folder / "timeline.json", list(rows))
    facts = ["first", "last", "class", "label", "confidence"]
    segments = (
        [row["name"], row["person"], *(one[key] for key in facts), one.get("count", "")]
        for row in rows
        for one in row["segments"]
    )
    files.write_rows(folder / "timeline.csv", ["name", "person", *facts, "count"], segments)
    cells = (
        [track.recording.name, track.person, cell * one.hop, *scores]
        for track, one in zip(found, made, strict=True)
        for cell, scores in enumerate(np.round(one.scores, 4).tolist())
        if any(scores)
    )
    columns = ["name", "person", "first", *classes]
    files.write_rows(folder / "timeline_scores.csv", columns, cells)
