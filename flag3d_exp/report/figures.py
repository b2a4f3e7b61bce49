"""Figures for screen and print: readable without colour and with 60 classes.

Each function returns a `Figure` without using pyplot's global state; `files.write_figure` saves it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from flag3d_exp.report.lettering import legible, lettering
from flag3d_exp.results.intervals import Estimate
from flag3d_exp.results.metrics import Calibration
from flag3d_exp.results.published import BODY_PART_OF, BODY_PARTS

# Okabe and Ito's colours, which colour-blind readers can distinguish, each with a line and hatch.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
TITLES = {"top1": "top-1 (%)", "top5": "top-5 (%)", "lr": "learning rate"}
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo")
MANY = 100  # classes; figures of more classes do not show each of them

Curves = Mapping[str, Sequence[tuple[float, float]]]


@lettering()
def curves_figure(curves: Curves, unit: str = "epoch") -> Figure:
    """Curves of one run over epochs, one panel per quantity.

    Args:
        curves: metric key (`train/loss`, `val/top1`, `lr`) to its (epoch, value) pairs.
        unit: of the pairs' first number.
    """
    panels: dict[str, list[str]] = {}
    for key in curves:
        panels.setdefault(key.rsplit("/", 1)[-1], []).append(key)
    order = [name for name in ("loss", "top1", "top5") if name in panels]
    order += [name for name in panels if name not in order]
    num_columns = max(min(len(order), 3), 1)
    num_rows = -(-len(order) // num_columns)
    figure = Figure(figsize=(4.4 * num_columns, 3.3 * num_rows), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12)
    splits = list(dict.fromkeys(key.rsplit("/", 1)[0] for key in curves if "/" in key))
    for place, name in enumerate(order, start=1):
        axes = figure.add_subplot(num_rows, num_columns, place)
        for key in panels[name]:
            style = splits.index(key.rsplit("/", 1)[0]) if "/" in key else 0
            epochs, values = zip(*curves[key], strict=True)
            axes.plot(
                epochs,
                values,
                color=COLOURS[style % len(COLOURS)],
                linestyle=LINES[style % len(LINES)],
                marker=MARKERS[style % len(MARKERS)] if len(epochs) <= 40 else "",
                markersize=4,
                label=legible(key),
            )
        if name in ("top1", "top5"):
            axes.set_ylim(top=min(axes.get_ylim()[1], 101))  # at most 100 %
        axes.set_xlabel(unit)
        axes.set_title(legible(TITLES.get(name, name)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8)
        lighten(axes)
    return figure


@lettering()
def confusion_figure(confusion: np.ndarray, class_names: Sequence[str]) -> Figure:
    """A confusion matrix (K, K), rows the labels, in percent of the row.

    FLAG3D's classes are ordered by body part, with lines between the parts. Every cell of 1 % or
    more shows its value, so that the matrix can be read without colour. With more than `MANY`
    classes, cells have no values and some classes have no names, because there is no room.
    """
    order, parts = by_body_part(class_names)
    counts = np.asarray(confusion)[np.ix_(order, order)]
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    num_classes = len(order)
    size = 3.2 + (0.36 if num_classes <= 20 else 0.2) * min(num_classes, MANY)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    font = 8 if num_classes <= 20 else 6
    for row, column in np.argwhere(share >= 1) if num_classes <= MANY else ():
        shade = "white" if share[row, column] > 55 else "black"
        text = f"{share[row, column]:.0f}"
        axes.text(
            column, row, text, ha="center", va="center", fontsize=font, color=shade, in_layout=False
        )
    named = range(0, num_classes, -(-num_classes // MANY))
    names = [shorten(class_names[order[place]]) for place in named]
    axes.set_xticks(named, names, rotation=90, fontsize=7.5)
    axes.set_yticks(named, names, fontsize=7.5)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.set_title("% of the label's recordings", fontsize=9)
    axes.tick_params(length=0)
    for edge in np.flatnonzero(np.array(parts[1:]) != np.array(parts[:-1])) + 0.5:
        axes.axhline(edge, color="0.6", linewidth=0.7)
        axes.axvline(edge, color="0.6", linewidth=0.7)
    if parts[0]:
        middles = {
            part: np.mean([r for r, name in enumerate(parts) if name == part]) for part in parts
        }
        right = axes.secondary_yaxis("right")
        right.set_yticks(list(middles.values()), list(middles), fontsize=8.5, weight="bold")
        right.tick_params(length=0)
    return figure


@lettering()
def accuracy_figure(rows: Sequence[str], runs: Mapping[str, Sequence[Estimate | None]]) -> Figure:
    """Horizontal bars with 95 % intervals, one row per class or group, one bar per run.

    Args:
        rows: names of the rows, from the top.
        runs: run name to one estimate per row; None is not drawn.
    """
    height = 1.3 + len(rows) * (0.11 + 0.13 * len(runs))
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.add_subplot()
    thickness = 0.82 / len(runs)
    for index, (name, estimates) in enumerate(runs.items()):
        offset = (index - (len(runs) - 1) / 2) * thickness
        known = [(row + offset, one) for row, one in enumerate(estimates) if one is not None]
        values = [one.value for _, one in known]
        errors = [
            [one.value - one.low for _, one in known],
            [one.high - one.value for _, one in known],
        ]
        axes.barh(
            *([place for place, _ in known], values),
            height=thickness * 0.92,
            xerr=errors,
            color=COLOURS[index % len(COLOURS)],
            hatch=HATCHES[index % len(HATCHES)],
            edgecolor="white",
            linewidth=0,
            alpha=0.75,
            error_kw={"elinewidth": 1.2, "ecolor": "black"},
            label=legible(name),
        )
    axes.set_yticks(range(len(rows)), [shorten(row) for row in rows], fontsize=7.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("top-1, with 95 % interval")
    if len(runs) > 1:
        figure.legend(loc="outside upper center", ncols=min(len(runs), 3), fontsize=8)
    lighten(axes)
    return figure


@lettering()
def gap_figure(rows: Sequence[str], gaps: Mapping[str, Sequence[Estimate | None]]) -> Figure:
    """Drops in accuracy from in-domain to each other split, as points with intervals.

    Args:
        rows: names of the rows ("overall", a body part, a class), from the top.
        gaps: series name to one estimate of the drop per row; None is not drawn.
    """
    figure = Figure(figsize=(8, 1.4 + len(rows) * 0.24), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, estimates) in enumerate(gaps.items()):
        offset = (index - (len(gaps) - 1) / 2) * 0.22
        known = [(row + offset, one) for row, one in enumerate(estimates) if one is not None]
        axes.errorbar(
            [one.value for _, one in known],
            [place for place, _ in known],
            xerr=[
                [one.value - one.low for _, one in known],
                [one.high - one.value for _, one in known],
            ],
            fmt=MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            markersize=5,
            elinewidth=1.1,
            capsize=2,
            label=legible(name),
        )
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [shorten(row) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("drop in top-1 (positive: worse than in-domain), with 95 % interval")
    axes.legend(fontsize=8)
    lighten(axes)
    return figure


@lettering()
def reliability_figure(runs: Mapping[str, Calibration]) -> Figure:
    """Accuracy against confidence, and the number of recordings in each bin of confidence."""
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.5", linewidth=0.9, label="perfect")
    for index, (name, bins) in enumerate(runs.items()):
        filled = bins.counts > 0
        style = {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}
        upper.plot(
            bins.confidence[filled],
            bins.accuracy[filled],
            marker=MARKERS[index % len(MARKERS)],
            markersize=4,
            label=f"{legible(name)} (ECE {100 * bins.error:.1f} %)",
            **style,
        )
        edges = np.linspace(0, 1, len(bins.counts) + 1)
        lower.stairs(bins.counts, edges, **style)
    upper.set_ylabel("accuracy")
    lower.set_ylabel("recordings")
    lower.set_xlabel("confidence")
    for axes in (upper, lower):
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        lighten(axes)
    upper.set_ylim(0, 1.02)
    upper.yaxis.set_major_formatter(PercentFormatter(1.0))
    upper.legend(fontsize=8, loc="upper left")
    return figure


def by_body_part(class_names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Class numbers in display order, and the body part of each ("" if not FLAG3D's)."""
    if not all(name in BODY_PART_OF for name in class_names):
        return list(range(len(class_names))), [""] * len(class_names)
    rank = {part: number for number, part in enumerate(BODY_PARTS)}
    order = sorted(range(len(class_names)), key=lambda c: (rank[BODY_PART_OF[class_names[c]]], c))
    return order, [BODY_PART_OF[class_names[label]] for label in order]


def shorten(name: str, length: int = 36) -> str:
    """The name; if it is longer than `length`, its start and an ellipsis."""
    return legible(name if len(name) <= length else name[: length - 1].rstrip() + "…")


def lighten(axes: Axes) -> None:
    """Remove two sides of the frame and add a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
