"""`task=predict`: predict classes of unlabelled recordings, as a whole or over time.

With a network of `problem=count`, count repetitions instead.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import numpy as np

from flag3d_exp import console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model
from flag3d_exp.config.written_classes import with_classes
from flag3d_exp.data.formats.detections import OpenFacts
from flag3d_exp.data.inputs import brief, input_clips, read_inputs
from flag3d_exp.data.source import Dataset
from flag3d_exp.data.timelines import Windows, timelines
from flag3d_exp.data.windows import tracks
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.problems.count import Count as CountProblem
from flag3d_exp.results.predictions import CONFIDENCE, answer, likeliest
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.session import Evaluator, forward_passes
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.tasks.count import Count
from flag3d_exp.tasks.timelines import window_clips, write_timelines

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predict(OpenFacts):
    """Settings of `task=predict`, in addition to those of `OpenFacts`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best checkpoint) or an MLflow run id.
        input: a file of recordings (pickle, .npz, .json, .csv, .skeleton, the .yaml of a table, or
            the output of a pose estimator) or a folder of such files.
        classes: a text file of classes to choose among instead of the checkpoint's classes, for a
            run with `problem=align`; see `texts.descriptions`.
        top_k: classes per recording.
        window: frames per prediction, for a timeline of each person; None: predict a recording as a
            whole.
        more_windows: further lengths of windows, for actions that differ much in length; see
            `results.timeline.tiled_scores`.
        hop: frames from one window to the next.
        confidence: a recording or a timeline's segment whose best class has a lower probability
            gets the class `unknown`.
        min_length: smallest number of frames of a timeline's segment.
        count: count the repetitions within each segment of a timeline, as `task=count` does.
        batch_size: clips per forward pass.
        num_workers: threads that prepare clips.
    """

    checkpoint: str
    input: str
    classes: str | None = None
    top_k: Annotated[int, ">= 1"] = 5
    window: Annotated[int, ">= 2, <= 100000"] | None = None
    more_windows: list[Annotated[int, ">= 2, <= 100000"]] = field(default_factory=list)
    hop: Annotated[int, ">= 1, <= 100000"] = 10
    confidence: Annotated[float, ">= 0, <= 1"] = CONFIDENCE
    min_length: Annotated[int, ">= 1, <= 100000"] = 20
    count: bool = False
    batch_size: Annotated[int, ">= 1, <= 65536"] = 16
    num_workers: Annotated[int, ">= 1"] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count and self.window is None:
            raise UserError("`task.count` counts in a timeline's segments: set `task.window`, too.")
        if self.more_windows and self.window is None:
            raise UserError("`task.more_windows` are further ones: set `task.window`, too.")
        self._windows()

    def _windows(self) -> Windows | None:
        """How to make timelines; None: recordings are predicted as a whole."""
        if self.window is None:
            return None
        return Windows(self.window, self.hop, self.confidence, self.min_length, self.more_windows)

    def __call__(self, experiment: Experiment) -> None:
        """Predict, write and print the most likely classes of each recording."""
        folder = experiment.folder
        if isinstance(experiment.problem(), CountProblem):
            self._count(experiment)
            return
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        settings: Dataset = experiment.build("dataset")
        with blamed_on("task.input"):
            layout = load_layout(settings.layout)
            recordings = read_inputs(
                Path(self.input).expanduser(),
                layout,
                settings.num_persons,
                self.reading(settings.num_coordinates),  # as many as the network was trained on
            )
        if warning := brief(recordings, settings.score_threshold):
            log.warning(warning)
        classes = experiment.classes
        if self.classes is not None:
            experiment, classes = with_classes(experiment, self.classes)
        problem = experiment.classification("predict")
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        device, _ = experiment.device()
        found, how = [], self._windows()
        if how is None:
            made = experiment.build
            dataset = input_clips(
                recordings,
                settings,
                made("pipeline"),
                made("stream"),
                experiment.seed,
            )
        else:
            found = tracks(recordings, how.lengths, how.hop, settings.score_threshold)
            dataset = window_clips(found, experiment)
        compiled = device.compiles(forward_passes([dataset], self.batch_size))
        predict = Predictor(restored_model(experiment, checkpoint, [dataset]), compiled)
        with console.progress_bar() as bar, StopRequest() as stop:
            evaluator = Evaluator(
                problem, predict, self.batch_size, self.num_workers, stop=stop, bar=bar
            )
            scores, _ = evaluator.predictions("input", dataset)
        if how is None:
            self._write_classes(folder, dataset.names, scores, classes)
            return
        made = timelines(found, scores, how)
        write_timelines(folder, found, made, classes, layout, self.count)

    def _count(self, experiment: Experiment) -> None:
        """Count repetitions, as `task=count` does with this checkpoint.

        Raises:
            UserError: the settings ask for classes.
        """
        if self.window is not None or self.classes is not None:
            raise UserError(
                "`task.window` and `task.classes` are for networks that classify; this one was "
                "trained with `problem=count`."
            )
        facts = {one.name: getattr(self, one.name) for one in fields(OpenFacts)}
        task = Count(self.input, None, self.checkpoint, batch_size=self.batch_size, **facts)
        task(experiment)

    def _write_classes(
        self, folder: Path, names: Sequence[str], scores: np.ndarray, classes: Sequence[str]
    ) -> None:
        """Write and print the most likely classes of each recording."""
        rows = [
            {"name": one["name"], "class": answer(one["classes"][0], self.confidence), **one}
            for one in likeliest(names, scores, classes, self.top_k)
        ]
        table = (
            [row["name"], rank, one["label"], one["class"], one["probability"]]
            for row in rows
            for rank, one in enumerate(row["classes"], start=1)
        )
        columns = ["name", "rank", "label", "class", "probability"]
        files.write_rows(folder / "predicted.csv", columns, table)
        files.write_json(folder / "predicted.json", rows)
        for row in rows[:10]:
            first = row["classes"][0]
            told = f"{first['class']} {100 * first['probability']:.1f} %"
            unsure = row["class"] == "unknown"
            log.info("%s: %s", row["name"], f"unknown (most likely {told})" if unsure else told)
        if len(rows) > 10:
            log.info("and %d more", len(rows) - 10)
        console.say(f"predictions: {folder / 'predicted.csv'}")
