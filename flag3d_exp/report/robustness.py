"""A table and a figure of accuracy against the degree of a disturbance."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from flag3d_exp import markdown
from flag3d_exp.report.figures import COLOURS, LINES, MARKERS, lighten
from flag3d_exp.report.lettering import legible, lettering
from flag3d_exp.results.intervals import Estimate

UNITS = {
    "frame_rate": "share of the frames",
    "crop": "share of the recording",
    "lost_joints": "share of the joints",
    "jitter": "sizes of the person",
    "rotation": "radians",
}


@dataclass(frozen=True)
class Point:
    """The accuracy on a split under one disturbance of one degree.

    Args:
        disturbance: its name; "" for unchanged recordings.
        degree: in its unit; 0 without a disturbance.
        accuracy: a share, with its 95 % interval.
    """

    split: str
    disturbance: str
    degree: float
    accuracy: Estimate


def table(points: Sequence[Point]) -> str:
    """A Markdown table with a row per disturbance and degree, and a column per split."""
    splits = list(dict.fromkeys(point.split for point in points))
    keys = list(dict.fromkeys((point.disturbance, point.degree) for point in points))
    known = {(p.disturbance, p.degree, p.split): p.accuracy for p in points}
    rows = []
    for disturbance, degree in keys:
        shown = [_percent(known[disturbance, degree, split]) for split in splits]
        rows.append([disturbance or "none", f"{degree:g}" if disturbance else "", *shown])
    return markdown.table(["disturbance", "degree", *splits], rows)


@lettering()
def curves(points: Sequence[Point]) -> Figure:
    """A figure with a panel per disturbance, and a line with 95 % intervals per split."""
    names = list(dict.fromkeys(p.disturbance for p in points if p.disturbance))
    splits = list(dict.fromkeys(point.split for point in points))
    num_columns = max(min(len(names), 3), 1)
    num_rows = -(-len(names) // num_columns)
    figure = Figure(figsize=(4.0 * num_columns, 3.0 * num_rows), layout="constrained")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(num_rows, num_columns, place)
        for style, split in enumerate(splits):
            own = [p for p in points if p.split == split and p.disturbance == name]
            values = [p.accuracy.value for p in own]
            below = [p.accuracy.value - p.accuracy.low for p in own]
            above = [p.accuracy.high - p.accuracy.value for p in own]
            axes.errorbar(
                *([p.degree for p in own], values),
                yerr=(below, above),
                color=COLOURS[style % len(COLOURS)],
                linestyle=LINES[style % len(LINES)],
                marker=MARKERS[style % len(MARKERS)],
                markersize=4,
                capsize=2,
                label=legible(split),
            )
            plain = next(p for p in points if p.split == split and not p.disturbance)
            axes.axhline(plain.accuracy.value, color=COLOURS[style % len(COLOURS)], lw=0.7, ls=":")
        axes.set(title=name.replace("_", " "), ylim=(0, 1.02), xlabel=UNITS.get(name, ""))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        lighten(axes)
        if name not in UNITS:  # it has no degrees
            axes.set_xticks([])
        if place == 1:
            axes.set_ylabel("top-1; dotted: as recorded")
            axes.legend(fontsize=7)
    return figure


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"
