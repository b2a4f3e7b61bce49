"""The sections of a report on evaluated runs, as blocks of a document."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from flag3d_exp.report import figures
from flag3d_exp.report.document import Block, Picture, Section, Table, Text
from flag3d_exp.results import evaluation, intervals, seeds
from flag3d_exp.results.comparison import Comparison
from flag3d_exp.results.evaluation import Evaluation
from flag3d_exp.results.intervals import Estimate, wilson
from flag3d_exp.results.predictions import Predictions
from flag3d_exp.results.published import BODY_PARTS, PUBLISHED

# Mapping from run title to split to evaluation.
Evaluations = Mapping[str, Mapping[str, Evaluation]]
NAMES = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_class_accuracy": "mean class accuracy",
    "macro_f1": "macro F1",
    "ece": "ECE",
    "nll": "NLL",
}


def summary(evaluations: Evaluations, protocols: Mapping[str, str | None]) -> Section:
    """All metrics of all runs and splits, and the published results of the same protocol.

    Args:
        protocols: split to FLAG3D's protocol; None for other data.
    """
    blocks: list[Block] = []
    for split in _splits(evaluations):
        rows = []
        for title, results in evaluations.items():
            if split in results:
                estimates = results[split].estimates
                cells = [_cell(name, estimates[name], 3 if name == "top1" else 2) for name in NAMES]
                rows.append([title, *cells])
        rows += published_rows(protocols.get(split))
        size = len(next(r[split] for r in evaluations.values() if split in r).predictions.names)
        header = ["run", *NAMES.values()]
        blocks.append(Table(header, rows, f"{split}: {size:,} recordings; 95 % intervals"))
    return Section("Accuracy", blocks)


def published_rows(protocol: str | None) -> list[list[str]]:
    """Published results of a protocol as rows of the summary, best first."""
    known = [row for row in PUBLISHED if row.protocol == protocol]
    rows = []
    for row in sorted(known, key=lambda row: row.top1, reverse=True):
        top1 = percent(row.top1)
        if row.correct is not None and row.total is not None:
            top1 = _cell("top1", wilson(row.correct, row.total), 3)
        rows.append([f"{row.source}: {row.method}", top1, *[""] * (len(NAMES) - 1)])
    return rows


def gaps(evaluations: Evaluations) -> Section | None:
    """The gap of each run between `val` and each other split; None without other splits."""
    rows, series = [], {}
    for title, results in evaluations.items():
        for split in evaluation.gap_splits(list(results)):
            drop = evaluation.gap(results["val"], results[split])
            overall = drop["overall"]["overall"]
            near, far = results["val"].estimates["top1"], results[split].estimates["top1"]
            rows.append([title, split, percent(near.value), percent(far.value), _points(overall)])
            series[f"{title}: {split}"] = drop
    if not rows:
        return None
    header = ["run", "split", "val", "there", "drop in points"]
    blocks: list[Block] = [
        Text(
            "The drop in accuracy from the in-domain split (val) to each other split, which "
            "in-domain accuracy alone does not show."
        ),
        Table(header, rows, "top-1; 95 % interval of the drop by Newcombe's method"),
    ]
    parts = [part for part in BODY_PARTS if all(part in d["body_parts"] for d in series.values())]
    names, which = ["overall", *parts], ""
    drawn = {
        title: [drop["overall"]["overall"], *(drop["body_parts"][part] for part in parts)]
        for title, drop in series.items()
    }
    if not parts:
        classes = list(next(iter(series.values()))["classes"])
        by_class = {t: [d["classes"].get(c) for c in classes] for t, d in series.items()}
        classes, by_class, which = _lowest(classes, by_class, -1)
        names += classes
        drawn = {title: [*drawn[title], *estimates] for title, estimates in by_class.items()}
    title = f"Domain gap{which}"
    blocks.append(Picture(figures.gap_figure(names, drawn), title, wide=True))
    if parts:
        classes = _shown_classes(list(series.values()))
        by_class = {t: [d["classes"].get(c) for c in classes] for t, d in series.items()}
        figure = figures.gap_figure(classes, by_class)
        blocks.append(Picture(figure, "Domain gap of each class", wide=True))
    return Section("Domain gap", blocks)


def comparisons(
    pairs: Mapping[str, Sequence[Comparison]], all_wrong: Mapping[str, list[str]]
) -> Section:
    """Paired differences between runs.

    Args:
        pairs: split to the comparisons of all pairs of runs.
        all_wrong: split to the recordings that no run gets right.
    """
    blocks: list[Block] = []
    for split, found in pairs.items():
        blocks.append(comparison_table(split, found))
        blocks += [class_wins_table(pair) for pair in found]
        blocks.append(_wrong_text(split, all_wrong[split]))
    return Section("Differences between runs", blocks)


def seed_comparisons(
    groups: Mapping[str, Mapping[str, Sequence[Predictions]]], all_wrong: Mapping[str, list[str]]
) -> Section:
    """Groups of runs that differ only in their seed: means, spread and differences.

    Args:
        groups: split to the predictions of each group's runs, by the group's title.
        all_wrong: split to the recordings that no run gets right.
    """
    blocks: list[Block] = []
    for split, found in groups.items():
        rights = {title: [run.right for run in runs] for title, runs in found.items()}
        top1 = {title: [100 * float(r.mean()) for r in runs] for title, runs in rights.items()}
        rows = [[title, str(len(found)), seeds.spread(found)] for title, found in top1.items()]
        header = ["group", "runs", "top-1: mean ± sd [95 % interval]"]
        blocks.append(Table(header, rows, f"{split}: runs that differ only in their seed"))
        rows = []
        for one in seeds.differences(top1):
            pair = [np.mean(rights[title], axis=0) for title in (one.first, one.second)]
            cells = seeds.difference_cells(one)
            chosen = _points(intervals.mean_difference(*pair))
            rows.append([f"{one.first} - {one.second}", *cells, chosen])
        if rows:
            header = ["pair", *seeds.DIFFERENCE_HEADER, "interval over recordings"]
            blocks += [Table(header, rows, f"{split}: differences"), Text(seeds.OVER_BOTH)]
        blocks.append(_wrong_text(split, all_wrong[split]))
    return Section("Differences between groups of runs", blocks)


def comparison_table(split: str, pairs: Sequence[Comparison]) -> Table:
    """Difference, wins of each run and McNemar's exact test for every pair."""
    rows = [
        [
            f"{pair.first} - {pair.second}",
            _points(pair.difference),
            str(pair.only_first),
            str(pair.only_second),
            seeds.p_text(pair.p_value),
            seeds.p_text(pair.adjusted_p),
        ]
        for pair in pairs
    ]
    header = ["pair", "difference in points", "only first right", "only second right"]
    header += ["McNemar p", "Holm p"]
    caption = (
        f"{split}: top-1 on the same recordings; 95 % intervals. An interval excludes 0 exactly if "
        "McNemar's p is below 0.05; Holm p corrects for all pairs"
    )
    return Table(header, rows, caption)


def class_wins_table(pair: Comparison, limit: int = 8) -> Table:
    """The classes on which the two runs differ most."""
    order = sorted(pair.by_class.items(), key=lambda item: -abs(item[1][0] - item[1][1]))
    rows = [
        [name, str(first), str(second), f"{first - second:+d}"]
        for name, (first, second) in order[:limit]
        if first != second
    ]
    header = ["class", f"only {pair.first}", f"only {pair.second}", "difference"]
    return Table(header, rows, f"Classes on which {pair.first} and {pair.second} differ most")


def split_section(
    split: str, evaluations: Mapping[str, Evaluation], classes: Sequence[str]
) -> Section:
    """One split in detail: body parts, classes, subjects, confusions, calibration.

    Args:
        evaluations: run title to its evaluation on this split.
        classes: class names in the order of their labels.
    """
    blocks: list[Block] = []
    parts = list(next(iter(evaluations.values())).body_parts)
    if parts:
        rows = {
            title: [e.body_parts.get(part) for part in parts] for title, e in evaluations.items()
        }
        blocks.append(_accuracy_table("body part", parts, rows))
        blocks.append(
            Picture(figures.accuracy_figure(parts, rows), "Top-1 by body part", wide=True)
        )
    order, _ = figures.by_body_part(classes)
    names = [classes[label] for label in order]
    rows = {title: [e.classes.get(name) for name in names] for title, e in evaluations.items()}
    names, rows, which = _lowest(names, rows, 1)
    title = f"Top-1 by class{which}"
    blocks.append(Picture(figures.accuracy_figure(names, rows), title, wide=True))
    people = list(next(iter(evaluations.values())).subjects)
    if people:
        rows = {title: [e.subjects.get(one) for one in people] for title, e in evaluations.items()}
        blocks.append(_accuracy_table("subject", people, rows))
    for title, one in evaluations.items():
        figure = figures.confusion_figure(one.confusion, classes)
        blocks.append(Picture(figure, f"Confusion matrix of {title}", wide=True))
        blocks.append(confusions_table(title, one, classes))
    calibration = {title: one.calibration for title, one in evaluations.items()}
    figure = figures.reliability_figure(calibration)
    blocks.append(Picture(figure, "Reliability: accuracy against confidence"))
    return Section(f"Split {split}", blocks)


def confusions_table(title: str, one: Evaluation, classes: Sequence[str]) -> Table:
    """The most frequent confusions of a run."""
    rows = [
        [classes[pair.label], classes[pair.predicted], str(pair.count), str(pair.total)]
        for pair in one.most_confused
    ]
    header = ["label", "taken for", "recordings", "of"]
    return Table(header, rows, f"Most confused pairs of {title}")


def percent(share: float, digits: int = 2) -> str:
    """A share in percent."""
    return f"{100 * share:.{digits}f}"


def _wrong_text(split: str, wrong: Sequence[str]) -> Text:
    shown = ", ".join(wrong[:20]) + (f" and {len(wrong) - 20:,} more" if len(wrong) > 20 else "")
    noun = "recording" if len(wrong) == 1 else "recordings"
    return Text(f"{split}: {len(wrong):,} {noun} that no run gets right. {shown}")


def _accuracy_table(
    what: str, names: Sequence[str], rows: Mapping[str, Sequence[Estimate | None]]
) -> Table:
    cells = [
        [name, *(_cell("top1", one, 1) if one else "" for one in column)]
        for name, column in zip(names, zip(*rows.values(), strict=True), strict=True)
    ]
    return Table([what, *rows], cells, f"Top-1 (%) by {what}")


def _cell(name: str, one: Estimate, digits: int = 2) -> str:
    scale = 100 if name in evaluation.PERCENT else 1
    value, low, high = (scale * number for number in (one.value, one.low, one.high))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _points(one: Estimate) -> str:
    return f"{100 * one.value:+.2f} [{100 * one.low:+.2f}, {100 * one.high:+.2f}]"


def _lowest(
    names: Sequence[str], rows: Mapping[str, Sequence[Estimate | None]], sign: int
) -> tuple[list[str], dict[str, list[Estimate | None]], str]:
    """The rows to show in a figure: if there are too many, those with the lowest `sign * value`.

    Returns:
        Their names, the estimates of each run, and a text that describes the selection.
    """
    if len(names) <= figures.MANY:
        return list(names), {run: list(column) for run, column in rows.items()}, ""

    def value(row: int) -> float:
        known = [one.value for column in rows.values() if (one := column[row]) is not None]
        return min((sign * number for number in known), default=math.inf)

    kept = sorted(sorted(range(len(names)), key=value)[: figures.MANY])
    which = f" (the {figures.MANY} of {len(names):,} with the lowest top-1)"
    if sign < 0:
        which = f" (the {figures.MANY} of {len(names):,} that lose most)"
    return (
        [names[row] for row in kept],
        {run: [column[row] for row in kept] for run, column in rows.items()},
        which,
    )


def _splits(evaluations: Evaluations) -> list[str]:
    return list(dict.fromkeys(split for results in evaluations.values() for split in results))


def _shown_classes(drops: Sequence[Mapping[str, Mapping[str, Estimate]]]) -> list[str]:
    """The classes for which any run has a drop, by body part."""
    found = dict.fromkeys(name for drop in drops for name in drop["classes"])
    order, _ = figures.by_body_part(list(found))
    return [list(found)[index] for index in order]
