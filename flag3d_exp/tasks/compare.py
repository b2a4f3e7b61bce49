"""`task=compare`: compare runs on the same recordings, in pairs or in groups of seeds."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flag3d_exp import console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.report import sections
from flag3d_exp.report.document import to_markdown
from flag3d_exp.results import comparison, seeds
from flag3d_exp.results.comparison import Comparison
from flag3d_exp.results.predictions import Predictions, paired_predictions
from flag3d_exp.runs.references import (
    Run,
    by_seed,
    check_same_classes,
    common_splits,
    open_runs,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compare:
    """Settings of `task=compare`.

    Args:
        runs: two or more run folders or MLflow run ids.
        splits: the splits to compare on; None for all that the runs have in common.
    """

    runs: list[str]
    splits: list[str] | None = None

    def __call__(self, experiment: Experiment) -> None:
        """Print the comparison; write `compare.md` and `compare.json`."""
        folder = experiment.folder
        runs = open_runs(self.runs, experiment.tracking_uri)
        pairs, wrong = compare_runs(runs, self.splits)
        groups = by_seed(runs)
        grouped = _predictions(groups, pairs) if len(groups) < len(runs) else {}
        section = (
            sections.seed_comparisons(grouped, wrong)
            if grouped
            else sections.comparisons(pairs, wrong)
        )
        places = [f" ({run.place})" for run in runs]
        named = ", ".join(
            run.title.removesuffix(place) + place for run, place in zip(runs, places, strict=True)
        )
        text = to_markdown("Comparison", named, [section])
        files.write_text(folder / "compare.md", text)
        files.write_json(folder / "compare.json", _plain(pairs, wrong, grouped))
        console.show(text)
        log.info("run folder: %s", folder)


@blamed_on("task.runs")
def compare_runs(
    runs: Sequence[Run], splits: Sequence[str] | None = None
) -> tuple[dict[str, list[Comparison]], dict[str, list[str]]]:
    """For each split, the comparison of every pair and the recordings that no run gets right.

    Raises:
        UserError: fewer than two runs, or runs of different recordings or classes.
    """
    if len(runs) < 2:
        raise UserError(f"`task.runs` must name at least two runs to compare; got {len(runs)}.")
    check_same_classes(runs)
    pairs, wrong = {}, {}
    for split in common_splits(runs, splits):
        matched = paired_predictions({run.title: run.predictions[split] for run in runs}, split)
        pairs[split] = comparison.compare(matched, runs[0].classes)
        wrong[split] = comparison.wrong_by_all(matched)
    return pairs, wrong


def _predictions(
    groups: Mapping[str, Sequence[Run]], splits: Iterable[str]
) -> dict[str, dict[str, list[Predictions]]]:
    """For each split and group, the predictions of its runs with recordings in the same order."""
    found: dict[str, dict[str, list[Predictions]]] = {}
    for split in splits:
        runs = [run for group in groups.values() for run in group]
        matched = paired_predictions({run.title: run.predictions[split] for run in runs}, split)
        found[split] = {
            title: [matched[run.title] for run in group] for title, group in groups.items()
        }
    return found


def _plain(
    pairs: Mapping[str, Sequence[Comparison]],
    wrong: Mapping[str, list[str]],
    groups: Mapping[str, Mapping[str, Sequence[Predictions]]],
) -> dict[str, Any]:
    found: dict[str, Any] = {
        split: {"pairs": [asdict(pair) for pair in compared], "wrong_by_all": wrong[split]}
        for split, compared in pairs.items()
    }
    for split, by_title in groups.items():
        top1 = {
            title: [100 * float(run.right.mean()) for run in runs]
            for title, runs in by_title.items()
        }
        found[split]["groups"] = top1
        found[split]["differences"] = [asdict(one) for one in seeds.differences(top1)]
    return found
