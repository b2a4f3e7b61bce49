"""`task=inspect`: check whether a dataset is fit for training, and show it."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

from flag3d_exp import bounds, console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data import upright
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.pipeline import Pipeline
from flag3d_exp.data.source import Dataset
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.report.inspection import augmentations
from flag3d_exp.report.inspection.findings import Finding, Splits, inspect
from flag3d_exp.report.inspection.pictures import clearest, sheets, write_gif
from flag3d_exp.report.inspection.viewer import viewer
from flag3d_exp.runs import record, run_folder
from flag3d_exp.runs.tracking import Tracking
from flag3d_exp.skeletons.layout import load_layout

log = logging.getLogger(__name__)
NUM_NAMES = 3
AUGMENTED = "augmented.png"


@dataclass(frozen=True)
class Inspect:
    """Settings of `task=inspect`.

    Args:
        recording: the recording to play in the GIF and first in the viewer; None for the first one.
        split: the split of the samples; None for the first split that can be shown.
        viewer_recordings: number of recordings in the viewer; classes take turns.
    """

    recording: str | None = None
    split: str | None = None
    viewer_recordings: Annotated[int, ">= 1"] = 40

    def __post_init__(self) -> None:
        bounds.check(self, "task")

    def __call__(self, experiment: Experiment) -> None:
        """Print the findings; write them, sheets, a GIF and the viewer into the run folder.

        Raises:
            UserError: training on the dataset would be wrong.
        """
        folder = experiment.folder
        settings: Dataset = experiment.build("dataset")
        layout = load_layout(settings.layout)
        settings, annotations = settings.with_folds(settings.open())
        pipeline = experiment.build("pipeline")
        findings, usable = inspect(settings, annotations, pipeline, layout)
        for line in table(findings):
            console.say(line)
        files.write_json(folder / "findings.json", {"findings": [asdict(f) for f in findings]})
        shown = self.shown_recordings(usable)
        if shown:
            chosen = self.chosen_recording(annotations.by_name, shown)
            layout = settings.layout_of(chosen)
            shown = [one for one in shown if settings.layout_of(one) == layout]
            up = upright.upward_axis(shown, layout)
            classes = experiment.classes
            samples = {label: clearest(members) for label, members in by_label(shown).items()}
            for number, figure in enumerate(sheets(samples, classes, layout, up), start=1):
                files.write_figure(folder / f"sheet_{number}.png", figure, dpi=110)
            write_gif(folder / "recording.gif", chosen, layout, up)
            self._draw_augmentations(experiment, chosen, shown, pipeline)
            played = [chosen, *(r for r in by_turns(shown) if r is not chosen)]
            played = played[: self.viewer_recordings]
            titles = [f"{classes[r.label]}: {r.name}" for r in played]
            files.write_text(folder / "viewer.html", viewer(played, titles, layout, up))
        track(experiment, folder, findings)
        if shown:
            console.say(f"a clip of each class: {folder / 'sheet_1.png'}")
            if (folder / AUGMENTED).is_file():
                console.say(f"a recording as training sees it: {folder / AUGMENTED}")
            console.say(f"recordings to play and turn: {folder / 'viewer.html'}")
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors:
            raise UserError(
                f"training on {settings.name} would be wrong ({len(errors)} "
                f"error{'s' if len(errors) > 1 else ''}): {errors[0].text}"
            )

    def _draw_augmentations(
        self,
        experiment: Experiment,
        chosen: Recording,
        shown: Sequence[Recording],
        pipeline: Pipeline,
    ) -> None:
        """Write a picture of the recording as training sees it, if there are augmentations."""
        augment = experiment.augment()
        for line in upright.doubts(augment.cameras, shown) if augment.cameras else ():
            log.warning(line)
        donors = by_label(shown).get(chosen.label, [chosen])
        try:
            rows = augmentations.rows(chosen, donors, pipeline, augment)
        except UserError as error:  # already among the findings, see `inspect`
            log.warning("No picture of the augmentations: %s", error)
            return
        if len(rows) > 1:
            title = f"{experiment.classes[chosen.label]}: {chosen.name}"
            figure = augmentations.sheet(title, rows, pipeline)
            files.write_figure(experiment.folder / AUGMENTED, figure, dpi=110)

    def shown_recordings(self, usable: Splits) -> Sequence[Recording]:
        """The recordings that samples are taken from; empty if none can be shown."""
        if self.split is None:
            return next((recordings for recordings in usable.values() if recordings), ())
        if self.split not in usable:
            known = ", ".join(usable) or "none"
            raise UserError(f"`task.split` must be one of {known}; got {self.split!r}.")
        return usable[self.split]

    def chosen_recording(
        self, by_name: dict[str, Recording], shown: Sequence[Recording]
    ) -> Recording:
        """The recording to play."""
        if self.recording is None:
            return shown[0]
        if self.recording not in by_name:
            hint = nearest(self.recording, by_name)
            raise UserError(f"`task.recording`: there is no recording {self.recording!r}.{hint}")
        return by_name[self.recording]


def table(findings: Sequence[Finding]) -> list[str]:
    """The findings as lines of text, each with its first few recordings."""
    lines = []
    for finding in findings:
        names = ", ".join(finding.recordings[:NUM_NAMES])
        more = len(finding.recordings) - NUM_NAMES
        which = f" ({names}{f' and {more} more' if more > 0 else ''})" if names else ""
        lines.append(f"{finding.severity:8} {finding.check:11} {finding.text}{which}")
    return lines


def by_label(recordings: Sequence[Recording]) -> dict[int, list[Recording]]:
    """The recordings of each label, in their order."""
    members: dict[int, list[Recording]] = {}
    for recording in recordings:
        members.setdefault(recording.label, []).append(recording)
    return members


def by_turns(recordings: Sequence[Recording]) -> list[Recording]:
    """One recording of each label, then a second of each, and so on."""
    turns = zip_longest(*by_label(recordings).values())
    return [recording for turn in turns for recording in turn if recording is not None]


def track(experiment: Experiment, folder: Path, findings: Sequence[Finding]) -> None:
    """Log the findings and pictures to MLflow."""
    tracking: Tracking = experiment.build("tracking")
    counts = {
        f"findings/{severity}": float(sum(finding.severity == severity for finding in findings))
        for severity in ("error", "warning", "note")
    }
    name = experiment.dataset_name
    tags = {"task": "inspect", "dataset": name}
    with record.tracked_run(tracking, folder, f"inspect-{name}", tags, {}) as tracker:
        if report := run_folder.History(folder).add(0, counts):
            tracker.log_report(report)
        for path in sorted(folder.iterdir()):
            if path.suffix in (".json", ".png", ".gif", ".html"):
                tracker.log_artifact(path)
