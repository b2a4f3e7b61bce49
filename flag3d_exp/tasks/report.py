"""`task=report`: a self-contained HTML page about runs, also as Markdown, and its numbers."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml

from flag3d_exp import bounds, console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.started import command_of
from flag3d_exp.credentials import same_place
from flag3d_exp.data.upright import upward_axis
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.report import figures, sections
from flag3d_exp.report.animation import animations
from flag3d_exp.report.document import (
    Animations,
    Code,
    Picture,
    Section,
    Text,
    to_html,
    to_markdown,
)
from flag3d_exp.results import comparison, evaluation, metrics
from flag3d_exp.results.evaluation import Evaluation
from flag3d_exp.results.predictions import Predictions, paired_predictions
from flag3d_exp.results.published import protocol
from flag3d_exp.runs import run_folder
from flag3d_exp.runs.recordings import Recordings, find_recordings
from flag3d_exp.runs.references import RUN_ID, Run, check_same_classes, common_splits, open_runs

log = logging.getLogger(__name__)
LOCAL = ("sqlite:", "file:")


@dataclass(frozen=True)
class Report:
    """Settings of `task=report`.

    Args:
        runs: run folders or MLflow run ids.
        splits: the splits to report on; None for all that the runs have in common.
        num_worst: number of recordings per split that are shown as animations.
        attach: log the page to the MLflow runs of the report.
    """

    runs: list[str]
    splits: list[str] | None = None
    num_worst: Annotated[int, ">= 0"] = 8
    attach: bool = True

    def __post_init__(self) -> None:
        bounds.check(self, "task")

    def __call__(self, experiment: Experiment) -> None:
        """Write `report.html`, `report.md` and `metrics.json` to the task's own folder."""
        folder = experiment.folder
        runs = open_runs(self.runs, experiment.tracking_uri)
        page = write_report(folder, runs, self.splits, self.num_worst)
        if self.attach:
            for run in runs:
                attach(run, [page, page.with_suffix(".md")], experiment.tracking_uri)
        console.say(f"report: {page}")


@blamed_on("task.runs")
def write_report(
    folder: Path, runs: Sequence[Run], splits: Sequence[str] | None = None, num_worst: int = 8
) -> Path:
    """Write `report.html`, `report.md` and `metrics.json` to `folder`; return the page.

    Raises:
        UserError: the runs are not of the same recordings and classes.
    """
    check_same_classes(runs)
    chosen = common_splits(runs, splits)
    predictions = {
        split: paired_predictions({run.title: run.predictions[split] for run in runs}, split)
        for split in chosen
    }
    recordings = find_recordings(runs)
    subjects = recordings.subjects if recordings else {}
    classes = runs[0].classes
    evaluations = {
        run.title: {
            split: evaluation.evaluate(predictions[split][run.title], classes, subjects)
            for split in chosen
        }
        for run in runs
    }
    content = _sections(runs, predictions, evaluations, recordings, num_worst)
    title = " and ".join(dict.fromkeys(run.dataset or run.title for run in runs))
    lead = _lead(runs)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    files.write_text(page, to_html(f"Report on {title}", lead, content))
    markdown = to_markdown(f"Report on {title}", lead, content)
    files.write_text(folder / "report.md", markdown)
    run_folder.save_metrics(folder, metric_values(evaluations))
    return page


def metric_values(evaluations: dict[str, dict[str, Evaluation]]) -> dict[str, float]:
    """Metrics: `<split>/top1` for the first run, `<run>/<split>/top1` for the other runs."""
    values: dict[str, float] = {}
    for number, (title, results) in enumerate(evaluations.items()):
        own: dict[str, float] = {}
        for split, one in results.items():
            own |= evaluation.metric_values(split, one)
        for split in evaluation.gap_splits(list(results)):
            drop = evaluation.gap(results["val"], results[split])["overall"]["overall"]
            own |= evaluation.gap_values(split, drop)
        values |= own if number == 0 else {f"{title}/{key}": value for key, value in own.items()}
    return values


def attach(run: Run, paths: Sequence[Path], uri: str | None) -> None:
    """Log files to the run's MLflow run, if it has one; an unreachable store is only a warning."""
    from flag3d_exp.runs import tracking

    known = run_folder.mlflow_run(run.folder)
    if known is None and RUN_ID.fullmatch(run.reference):
        known = run_folder.MlflowRun(uri, run.reference)
    if known is None or known.run_id is None or known.uri is None:
        return
    # A folder from somebody else may name a foreign server; never connect to that.
    if not known.uri.startswith(LOCAL) and not same_place(known.uri, uri):
        log.warning(
            "The report is not attached to %s, which is tracked at %s; set `tracking.uri` to this "
            "store to attach it.",
            run.title,
            known.uri,
        )
        return
    try:
        tracking.attach(known.run_id, known.uri, paths, "report")
    except UserError as error:
        log.warning("The report is not attached to %s: %s", run.title, error)


def _sections(
    runs: Sequence[Run],
    predictions: dict[str, dict[str, Predictions]],
    evaluations: dict[str, dict[str, Evaluation]],
    recordings: Recordings | None,
    num_worst: Annotated[int, ">= 0"],
) -> list[Section]:
    classes = runs[0].classes
    protocols = {
        split: protocol(next(iter(found.values())).names, len(classes))
        for split, found in predictions.items()
    }
    content = [sections.summary(evaluations, protocols)]
    if gaps := sections.gaps(evaluations):
        content.append(gaps)
    if len(runs) > 1:
        pairs = {split: comparison.compare(found, classes) for split, found in predictions.items()}
        wrong = {split: comparison.wrong_by_all(found) for split, found in predictions.items()}
        content.append(sections.comparisons(pairs, wrong))
    if curves := _curves(runs):
        content.append(curves)
    for split, found in predictions.items():
        here = {title: results[split] for title, results in evaluations.items()}
        section = sections.split_section(split, here, classes)
        if recordings and num_worst:
            section.blocks.extend(_worst(found, classes, recordings, num_worst))
        content.append(section)
    content.append(_reproduction(runs))
    return content


def _lead(runs: Sequence[Run]) -> str:
    named = ", ".join(f"{run.title} ({run.place})" for run in runs)
    synthetic = any("synthetic" in (run.dataset or "") for run in runs)
    return named + (". The data are synthetic: made, not recorded." if synthetic else ".")


def _curves(runs: Sequence[Run]) -> Section | None:
    blocks = []
    for run in runs:
        series = run_folder.History(run.folder).series()
        curves = {key: list(zip(*pair, strict=True)) for key, pair in series.items()}
        if any(len(points) > 1 for points in curves.values()):  # else there was no training
            figure = figures.curves_figure(curves, unit="optimizer updates")
            blocks.append(Picture(figure, f"Training of {run.title}", wide=True))
    return Section("Training", blocks) if blocks else None


def _worst(
    found: dict[str, Predictions], classes: Sequence[str], recordings: Recordings, limit: int
) -> list[Text | Animations]:
    """The recordings with the most confident wrong predictions, as animations."""
    first = next(iter(found.values()))
    losses = np.mean([metrics.log_losses(p.scores, p.labels) for p in found.values()], axis=0)
    wrong = ~np.all([p.right for p in found.values()], axis=0)
    order = [row for row in np.argsort(-losses, kind="stable") if wrong[row]]
    order = [row for row in order if first.names[row] in recordings.by_name][:limit]
    if not order:
        return []
    captions = []
    for row in order:
        lines = [first.names[row], f"label: {classes[first.labels[row]]}"]
        for title, one in found.items():
            guess = int(one.scores[row].argmax())
            who = f"{title}: " if len(found) > 1 else "predicted: "
            lines.append(f"{who}{classes[guess]} ({100 * one.scores[row, guess]:.0f} %)")
        captions.append("\n".join(lines))
    shown = [recordings.by_name[first.names[row]] for row in order]
    up = upward_axis(shown, recordings.layout)
    return [
        Text("Recordings with the most confident wrong predictions; left blue, right orange."),
        animations(shown, captions, recordings.layout, up),
    ]


def _reproduction(runs: Sequence[Run]) -> Section:
    blocks: list[Text | Code] = []
    for run in runs:
        command = command_of(run.folder)
        if command is not None:
            blocks.append(Code(command, f"{run.title} ({run.place}) was made by"))
        else:
            blocks.append(Text(f"{run.title}: {run.place} does not say how it was made."))
        told = {group: value for group, value in run.config.items() if group != "tracking"}
        if told:
            text = yaml.safe_dump(told)
            blocks.append(Code(text, f"Configuration of {run.title}", folded=True))
    return Section("Configuration and how to reproduce it", list(blocks))
