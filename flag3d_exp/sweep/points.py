"""The points of a grid: its combinations, their results, the tables over seeds and folds."""

import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader

from flag3d_exp import files, markdown
from flag3d_exp.config.hydra_adapter import parse_overrides
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.records import record
from flag3d_exp.reading.text import file_text, parsed_json, parsed_yaml
from flag3d_exp.results.folds import OVER_FOLDS, PAIRED_HEADER, paired_differences
from flag3d_exp.results.seeds import (
    DIFFERENCE_HEADER,
    OVER_SEEDS,
    difference_cells,
    differences,
    spread,
)
from flag3d_exp.runs.begun import check_same

FILE, TABLE, BEGUN = "grid.yaml", "table.md", "begun.json"
SEED, FOLD = "seed", "fold"  # the keys over which the tables take means


@dataclass
class Point:
    """One combination and its result.

    Args:
        folder: name of the run's folder within the grid's folder.
        choices: varied key -> value.
        state: waiting, running, complete or failed.
        metrics: from the run's metrics.json.
    """

    folder: str
    choices: dict[str, str]
    state: str = "waiting"
    metrics: dict[str, float] = field(default_factory=dict)


def combinations(
    overrides: Sequence[str], loader: ConfigLoader
) -> tuple[list[str], dict[str, list[str]], list[Point]]:
    """The overrides of all runs, the values of the varied keys, and their numbered combinations.

    Raises:
        UserError: an override is an interval, which only a search can draw from.
    """
    fixed: list[str] = []
    varied: dict[str, list[str]] = {}
    for override in parse_overrides(overrides, loader):
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
        elif override.is_discrete_sweep():
            varied[override.get_key_element()] = list(override.sweep_string_iterator())
        else:
            raise UserError(
                f"`{override.input_line}` needs a search: `-m sweep=search ...`; a grid takes "
                "choices and ranges."
            )
    drawn = [dict(zip(varied, values, strict=True)) for values in product(*varied.values())]
    return fixed, varied, [Point(str(number), choices) for number, choices in enumerate(drawn)]


def recall(points: Sequence[Point], begun: dict[str, Any], folder: Path) -> None:
    """Take over the results of an earlier start of the same grid.

    Args:
        begun: the description of this grid; a new grid stores it in the folder.

    Raises:
        UserError: the folder holds another grid.
    """
    with blamed_on("hydra.sweep.dir"):
        first, known = _kept_content(folder)
    if first is None:
        files.write_json(folder / BEGUN, begun)
    else:
        what = f"The grid in `hydra.sweep.dir={folder}`"
        check_same(first, begun, what, "choose another folder")
    if known is None:
        return
    if [point.choices for point in known] != [point.choices for point in points]:
        raise UserError(f"`hydra.sweep.dir={folder}` holds another grid; choose another folder.")
    for point, before in zip(points, known, strict=True):
        if before.state == "complete":
            point.state, point.metrics = before.state, before.metrics


def _kept_content(folder: Path) -> tuple[dict[str, Any] | None, list[Point] | None]:
    """The description and the points of the folder's grid; None for a missing file.

    Raises:
        UserError: a file is malformed.
    """
    first, known = None, None
    path = folder / BEGUN
    try:
        if path.exists():
            first = parsed_json(file_text(path))
            if not isinstance(first, dict):
                raise Malformed("it is not a mapping")
        path = folder / FILE
        if path.exists():
            rows = parsed_yaml(file_text(path))
            if not isinstance(rows, list):
                raise Malformed("it is not a list")
            known = [record(Point, row) for row in rows]
    except Malformed as error:
        raise UserError(f"{path} can't be read: {error}.") from error
    return first, known


def save(points: Sequence[Point], folder: Path) -> list[str]:
    """Write grid.yaml and table.md; return the lines of the tables."""
    kept = [asdict(point) for point in points]
    files.write_text(folder / FILE, yaml.safe_dump(kept, sort_keys=False))
    lines = [*table(points), *comparison(points)]
    files.write_text(folder / TABLE, "\n".join(lines) + "\n")
    return lines


def title(points: Sequence[Point]) -> str:
    """The varied keys: `model=stgcn,aagcn seed=1,2,3`; of many values, the first and the last."""
    parts = []
    for key in points[0].choices:
        values = list(dict.fromkeys(point.choices[key] for point in points))
        few = values if len(values) <= 4 else [values[0], "...", values[-1]]
        parts.append(f"{key}={','.join(few)}")
    return " ".join(parts)


def metrics(points: Sequence[Point]) -> dict[str, float]:
    """The metrics for MLflow: counts of complete and failed runs, means over seeds and folds."""
    counts = Counter(point.state for point in points)
    found = {f"runs/{state}": float(counts[state]) for state in ("complete", "failed")}
    for name in _compared_metrics(points):
        for group, units in _groups(points, name).items():
            values = list(units.values())
            key = f"{_metric_name(group)}/{name}" if group else name
            found[f"{key}_mean"] = statistics.fmean(values)
            if len(values) > 1:
                found[f"{key}_sd"] = statistics.stdev(values)
    return found


def table(points: Sequence[Point]) -> list[str]:
    """A Markdown table with mean and spread: one row per combination, without seed and fold."""
    names = _compared_metrics(points)
    keys = [key for key in points[0].choices if key not in (SEED, FOLD)]
    over = " over folds" if FOLD in points[0].choices else ""
    rows: dict[tuple[str, ...], list[Point]] = {}
    for point in _done(points):
        rows.setdefault(tuple(point.choices[key] for key in keys), []).append(point)
    heads = [f"{name}: mean ± sd{over} [95 % interval]" for name in names]
    cells = [
        [*values, str(len(group)), *(spread([*_units(group, name).values()]) for name in names)]
        for values, group in rows.items()
    ]
    return markdown.table([*keys, "runs", *heads], cells).splitlines()


def comparison(points: Sequence[Point]) -> list[str]:
    """Markdown tables of the differences between groups that have several seeds or folds each."""
    over_folds = FOLD in points[0].choices
    if not over_folds and SEED not in points[0].choices:
        return []
    lines: list[str] = []
    for name in _compared_metrics(points):
        groups = _groups(points, name)
        if over_folds:
            found = paired_differences(groups)
        else:
            found = differences({group: [*units.values()] for group, units in groups.items()})
        if not found:
            continue
        rows = [[f"{d.first} - {d.second}", *difference_cells(d)] for d in found]
        header = [f"{name}: pair", *(PAIRED_HEADER if over_folds else DIFFERENCE_HEADER)]
        lines += ["", *markdown.table(header, rows).splitlines()]
    return [*lines, "", OVER_FOLDS if over_folds else OVER_SEEDS] if lines else []


def _done(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if point.state == "complete"]


def _compared_metrics(points: Sequence[Point]) -> list[str]:
    """The metrics that the tables show."""
    return sorted({n for point in _done(points) for n in point.metrics if n.endswith("/top1")})


def _units(points: Sequence[Point], name: str) -> dict[str, float]:
    """The values of a metric by run; in a grid of folds, the means over seeds by fold."""
    found: dict[str, list[float]] = {}
    for point in points:
        if name in point.metrics:
            unit = point.choices.get(FOLD, point.folder)
            found.setdefault(unit, []).append(point.metrics[name])
    return {unit: statistics.fmean(values) for unit, values in found.items()}


def _groups(points: Sequence[Point], name: str) -> dict[str, dict[str, float]]:
    """`_units` for each combination of the other keys: `model=stgcn stream=bone`."""
    members: dict[str, list[Point]] = {}
    for point in _done(points):
        choices = point.choices.items()
        group = " ".join(f"{k}={v}" for k, v in choices if k not in (SEED, FOLD))
        members.setdefault(group, []).append(point)
    found = {group: _units(of, name) for group, of in members.items()}
    return {group: units for group, units in found.items() if units}


def _metric_name(group: str) -> str:
    """The group's name in characters that MLflow accepts in the name of a metric."""
    return re.sub(r"[^\w\-. /]", "_", group)
