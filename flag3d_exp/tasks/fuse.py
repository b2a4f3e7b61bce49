"""`task=fuse`: fuse the scores of several runs; the result is a run like any other."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flag3d_exp import console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.results import evaluation, fusion, metrics
from flag3d_exp.results.predictions import Predictions, paired_predictions
from flag3d_exp.runs import record, run_folder
from flag3d_exp.runs.references import FUSION, Run, check_same_classes, common_splits, open_runs
from flag3d_exp.runs.tracking import Tracking

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fuse:
    """Settings of `task=fuse`.

    Args:
        runs: two or more run folders or MLflow run ids.
        weights: one per run; only their ratios matter. None: equal weights.
        fit_on: split on which the weights are fitted; it is then left out of the report.
        splits: the splits to fuse; None for all that the runs have in common.
    """

    runs: list[str]
    weights: list[float] | None = None
    fit_on: str | None = None
    splits: list[str] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and self.fit_on is not None:
            raise UserError("`task.weights` and `task.fit_on` exclude each other; give one.")
        if self.fit_on is not None and self.fit_on in (self.splits or ()):
            raise UserError(
                f"`task.splits` must not hold `{self.fit_on}`, on which `task.fit_on` fits."
            )

    def __call__(self, experiment: Experiment) -> float | None:
        """Fuse; return the top-1 of `val` in percent, if that split is fused."""
        folder = experiment.folder
        runs = open_runs(self.runs, experiment.tracking_uri)
        found = fuse_runs(folder, runs, self.weights, self.fit_on, self.splits)
        track(experiment, folder, found)
        log.info("run folder: %s", folder)
        return found.get("val/top1")


@blamed_on("task.runs")
def fuse_runs(
    folder: Path,
    runs: Sequence[Run],
    weights: Sequence[float] | None = None,
    fit_on: str | None = None,
    splits: Sequence[str] | None = None,
) -> dict[str, float]:
    """Write the fused run into `folder`; return its metrics.

    Raises:
        UserError: the runs or the weights do not fit together.
    """
    if len(runs) < 2:
        raise UserError(f"`task.runs` must name at least two runs to fuse; got {len(runs)}.")
    check_same_classes(runs)
    if fit_on is not None:
        weights = fusion.fit_weights(_members(runs, common_splits(runs, [fit_on])[0]))
    weights = list(weights) if weights is not None else [1.0] * len(runs)
    fusion.check_weights(weights, len(runs))
    chosen = [split for split in common_splits(runs, splits) if split != fit_on]
    if not chosen:
        raise UserError(f"no split is left to report on except `task.fit_on={fit_on}`.")
    found: dict[str, float] = {}
    for split in chosen:
        fused = fusion.fuse(_members(runs, split), weights)
        saved = {"labels": fused.labels, "scores": fused.scores}
        run_folder.save_predictions(folder, split, fused.names, saved)
        found |= metrics.split_metrics(split, fused.scores, fused.labels)
    found |= evaluation.gap_metrics(found)
    files.write_json(folder / FUSION, _description(runs, weights, fit_on))
    run_folder.save_metrics(folder, found)
    for run, weight in zip(runs, weights, strict=True):
        log.info("%s: weight %.3g", run.title, weight)
    for line in console.summary_lines(found, chosen):
        log.info(line)
    return found


def track(experiment: Experiment, folder: Path, found: dict[str, float]) -> None:
    """Log the fused run to MLflow."""
    tracking: Tracking = experiment.build("tracking")
    described = json.loads((folder / FUSION).read_text(encoding="utf-8"))
    tags = {
        "task": "fuse",
        "model": described["title"],
        "dataset": described["config"].get("dataset", {}).get("name", ""),
        "command": " ".join(experiment.overrides),
    }
    with record.tracked_run(tracking, folder, described["title"], tags, {}) as tracker:
        if report := run_folder.History(folder).add(0, found):
            tracker.log_report(report)
        for path in (folder / FUSION, folder / "metrics.json"):
            tracker.log_artifact(path)
        for path in sorted((folder / "predictions").glob("*.npz")):
            tracker.log_artifact(path, "predictions")


def _members(runs: Sequence[Run], split: str) -> list[Predictions]:
    named = {run.title: run.predictions[split] for run in runs}
    return list(paired_predictions(named, split).values())


def _description(
    runs: Sequence[Run], weights: Sequence[float], fit_on: str | None
) -> dict[str, Any]:
    """The content of `fusion.json`: how the run was made, and its data."""
    members = [
        {"run": run.reference, "folder": str(run.folder), "title": run.title, "weight": weight}
        for run, weight in zip(runs, weights, strict=True)
    ]
    shared = {"dataset": runs[0].config["dataset"]} if "dataset" in runs[0].config else {}
    title = " + ".join(run.title for run in runs)
    return {"title": title, "members": members, "weights_fitted_on": fit_on, "config": shared}
