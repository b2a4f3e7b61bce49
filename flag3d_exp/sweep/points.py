"""The points of a grid: its combinations, what came of each, and the table over seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from scipy.stats import t as student

from flag3d_exp import files, markdown
from flag3d_exp.config.hydra_adapter import parse_overrides
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.records import record
from flag3d_exp.reading.text import file_text, parsed_json, parsed_yaml
from flag3d_exp.runs.begun import check_same

FILE, TABLE, BEGUN = "grid.yaml", "table.md", "begun.json"


@dataclass
class Point:
    """One combination: what is particular to it, and what came of it.

    Args:
        folder: name of the run's folder in that of the grid.
        choices: key -> value, of what varies.
        state: waiting, running, complete or failed.
        metrics: what the run's metrics.json says.
    """

    folder: str
    choices: dict[str, str]
    state: str = "waiting"
    metrics: dict[str, float] = field(default_factory=dict)


def combinations(
    overrides: Sequence[str], loader: ConfigLoader
) -> tuple[list[str], dict[str, list[str]], list[Point]]:
    """What is common to all runs, the values of what is not, and their combinations, numbered.

    Raises:
        UserError: an interval, which only a search can draw from.
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
    """Take over what an earlier start of the same grid has finished.

    Args:
        begun: what the grid would be begun with; kept in the folder when it is.

    Raises:
        UserError: the folder holds another grid.
    """
    with blamed_on("hydra.sweep.dir"):
        first, known = _kept(folder)
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


def _kept(folder: Path) -> tuple[dict[str, Any] | None, list[Point] | None]:
    """What the folder's grid was begun with, and its points; None for what is not there yet.

    Raises:
        UserError: a file is not what a grid writes.
    """
    first, known = None, None
    path = folder / BEGUN
    try:
        if path.exists():
            first = parsed_json(file_text(path))
            if not isinstance(first, dict):
                raise Malformed("it is no mapping")
        path = folder / FILE
        if path.exists():
            rows = parsed_yaml(file_text(path))
            if not isinstance(rows, list):
                raise Malformed("it is no list")
            known = [record(Point, row) for row in rows]
    except Malformed as error:
        raise UserError(f"{path} can't be read: {error}.") from error
    return first, known


def save(points: Sequence[Point], folder: Path) -> list[str]:
    """Write grid.yaml and table.md; the lines of the table."""
    kept = [asdict(point) for point in points]
    files.write_text(folder / FILE, yaml.safe_dump(kept, sort_keys=False))
    lines = table(points)
    files.write_text(folder / TABLE, "\n".join(lines) + "\n")
    return lines


def table(points: Sequence[Point]) -> list[str]:
    """A Markdown table: a row for each choice of all but the seed, with mean, sd and interval."""
    done = [point for point in points if point.state == "complete"]
    metrics = sorted({name for point in done for name in point.metrics if name.endswith("/top1")})
    keys = [key for key in points[0].choices if key != "seed"]
    groups: dict[tuple[str, ...], list[Point]] = {}
    for point in done:
        groups.setdefault(tuple(point.choices[key] for key in keys), []).append(point)
    heads = [f"{name}: mean ± sd [95 % interval]" for name in metrics]
    rows = []
    for values, group in groups.items():
        found = [[p.metrics[name] for p in group if name in p.metrics] for name in metrics]
        cells = [spread(numbers) for numbers in found]
        rows.append([*values, str(len(group)), *cells])
    return markdown.table([*keys, "runs", *heads], rows).splitlines()


def spread(values: Sequence[float]) -> str:
    """`mean ± standard deviation [95 % interval of the mean]`, as far as their number allows.

    The interval is Student's, which supposes that runs with different seeds vary normally.
    """
    if not values:
        return ""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.2f}"
    deviation = statistics.stdev(values)
    half = float(student.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return f"{mean:.2f} ± {deviation:.2f} [{mean - half:.2f}, {mean + half:.2f}]"
