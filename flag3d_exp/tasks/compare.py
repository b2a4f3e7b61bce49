"""`task=compare`: runs on the same recordings, pair by pair."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flag3d_exp import console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.report import sections
from flag3d_exp.report.document import to_markdown
from flag3d_exp.results import comparison
from flag3d_exp.results.comparison import Comparison
from flag3d_exp.results.predictions import paired
from flag3d_exp.runs.references import Run, check_same_classes, common_splits, open_runs


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
        named = ", ".join(f"{run.title} ({run.place})" for run in runs)
        text = to_markdown("Comparison", named, [sections.comparisons(pairs, wrong)])
        files.write_text(folder / "compare.md", text)
        files.write_json(folder / "compare.json", _plain(pairs, wrong))
        console.show(text)


@blamed_on("task.runs")
def compare_runs(
    runs: Sequence[Run], splits: Sequence[str] | None = None
) -> tuple[dict[str, list[Comparison]], dict[str, list[str]]]:
    """By split: every pair's comparison, and the recordings that no run gets right.

    Raises:
        UserError: fewer than two runs, or runs of different recordings or classes.
    """
    if len(runs) < 2:
        raise UserError(f"`task.runs` must name at least two runs to compare; got {len(runs)}.")
    check_same_classes(runs)
    pairs, wrong = {}, {}
    for split in common_splits(runs, splits):
        matched = paired({run.title: run.predictions[split] for run in runs}, split)
        pairs[split] = comparison.compare(matched, runs[0].classes)
        wrong[split] = comparison.wrong_by_all(matched)
    return pairs, wrong


def _plain(
    pairs: Mapping[str, Sequence[Comparison]], wrong: Mapping[str, list[str]]
) -> dict[str, Any]:
    return {
        split: {"pairs": [asdict(pair) for pair in found], "wrong_by_all": wrong[split]}
        for split, found in pairs.items()
    }
