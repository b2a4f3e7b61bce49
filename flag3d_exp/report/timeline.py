"""Views of timelines: a figure, and a page that plays the skeletons above the timelines.

Sizes: M persons, T frames, V joints.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import visible
from flag3d_exp.data.upright import upward_axis
from flag3d_exp.errors import visible as shown_text
from flag3d_exp.report.animation import projected_joints, square_around
from flag3d_exp.report.figures import COLOURS, HATCHES, lighten, shorten
from flag3d_exp.report.inspection.pictures import coloured_bones
from flag3d_exp.report.lettering import legible, lettering
from flag3d_exp.report.pages import page
from flag3d_exp.skeletons.layout import Layout

MAX_RECORDINGS, MAX_FRAMES, MAX_ROWS = 12, 1500, 24  # per page, per recording on it, per figure
GREY = "#BBBBBB"


@lettering()
def timeline_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """A figure with a bar per person and recording, and a colour and hatch per class.

    Args:
        rows: `name`, `person`, `num_frames` and `segments` of each; the first 24 are shown.
    """
    rows = rows[:MAX_ROWS]
    names = list(dict.fromkeys(one["class"] for row in rows for one in row["segments"]))
    named = [name for name in names if name != "unknown"]
    figure = Figure(figsize=(11, 1.6 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for at, row in enumerate(rows):
        for one in row["segments"]:
            colour, hatch = look(one["class"], named)
            width = one["last"] - one["first"] + 1
            axes.barh(at, width, 0.8, one["first"], color=colour, hatch=hatch, edgecolor="white")
        for each in row.get("repetitions", ()):
            axes.vlines(each["last"] + 1, at - 0.4, at + 0.4, color="black", linewidth=1)
    axes.set_yticks(
        range(len(rows)),
        [f"{legible(shorten(row['name'], 24))}, {row['person']}" for row in rows],
    )
    axes.invert_yaxis()
    axes.set_xlim(0, max(row["num_frames"] for row in rows))
    axes.set_xlabel("frame")
    patches = [
        Patch(facecolor=look(name, named)[0], hatch=look(name, named)[1], edgecolor="white",
              label=legible(shorten(name))) for name in names[:20]
    ]  # fmt: skip
    if patches:
        axes.legend(handles=patches, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    lighten(axes)
    axes.grid(visible=False)
    return figure


def look(name: str, named: Sequence[str]) -> tuple[str, str]:
    """Colour and hatch of a class; grey for `unknown`."""
    if name not in named:
        return GREY, ""
    at = named.index(name)
    return COLOURS[at % len(COLOURS)], HATCHES[(at // len(COLOURS)) % len(HATCHES)]


def player(
    recordings: Sequence[Recording], rows: Sequence[dict[str, Any]], layout: Layout, hop: int
) -> str:
    """The self-contained HTML page.

    It shows the first 12 recordings, subsampled to at most 1500 frames.

    Args:
        rows: as in `timeline_figure`, of all recordings.
        hop: frames per cell of the timeline.
    """
    chosen = recordings[:MAX_RECORDINGS]
    up = upward_axis(chosen, layout)
    classes = list(dict.fromkeys(one["class"] for row in rows for one in row["segments"]))
    named = [name for name in classes if name != "unknown"]
    data = {
        "bones": coloured_bones(layout),
        "colours": {shown_text(name): look(name, named)[0] for name in classes},
        "recordings": [
            {
                "title": shown_text(one.name),
                "rows": [_row(row) for row in rows if row["name"] == one.name],
                **_frames(one, up),
            }
            for one in chosen
        ],
    }
    return page("timeline.html", data=data, left_out=len(recordings) - len(chosen), hop=hop)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    segments = [[one["first"], one["last"], shown_text(one["class"]), one["confidence"]]
                for one in row["segments"]]  # fmt: skip
    made = {"person": row["person"], "segments": segments}
    if "repetitions" in row:
        made["repetitions"] = [[one["first"], one["last"]] for one in row["repetitions"]]
    return made


def _frames(recording: Recording, up: int) -> dict[str, Any]:
    """Joints (right, down) in thousandths of a square around all of them; 0 where missing."""
    num_frames = recording.keypoints.shape[1]
    stride = -(-num_frames // MAX_FRAMES)
    keypoints = recording.keypoints[:, ::stride].astype(np.float64)
    scores = None if recording.scores is None else recording.scores[:, ::stride]
    seen = visible(keypoints, scores, 0.05)  # (M, T, V)
    flat = projected_joints(keypoints, up)
    corner, scale = square_around(flat[seen])
    pixels = np.rint((flat - corner) * scale * 1000).astype(int)
    frames = []
    for frame in range(flat.shape[1]):
        persons = []
        for person in range(len(flat)):
            there = seen[person, frame]
            pairs = zip(pixels[person, frame].tolist(), there.tolist(), strict=True)
            joints = [place if is_seen else 0 for place, is_seen in pairs]
            persons.append(joints if there.any() else 0)
        frames.append(persons)
    return {"frames": frames, "stride": stride, "length": num_frames}
