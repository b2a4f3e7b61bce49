"""`task=predict`: classes and probabilities for recordings that need no labels."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from flag3d_exp import bounds, console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model
from flag3d_exp.data.formats.detections import Reading, check_image_shape
from flag3d_exp.data.inputs import input_clips, read_inputs
from flag3d_exp.data.source import Dataset
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import blamed_on
from flag3d_exp.results.predictions import likeliest
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.session import Evaluator, forward_passes
from flag3d_exp.skeletons.layout import load_layout

log = logging.getLogger(__name__)
FORMULA_STARTS = (*"=+-@\t\r\n", *"＝＋－＠")  # the last four: for spreadsheets in Japanese


@dataclass(frozen=True)
class Predict:
    """Settings of `task=predict`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best one) or an MLflow run id.
        input: a file of recordings (pickle, .npz, .json, .csv, .skeleton, the .yaml of a table, or
            what a pose estimator writes) or a folder of such files.
        top_k: classes per recording.
        format: of a pose estimator's files, where it is not recognised.
        layout: of the recordings' joints, where it is not the network's and the files do not say.
        unit: of the coordinates, where their size leaves it open.
        image_shape: (height, width) of the videos, for coordinates that are shares of it.
        batch_size: clips per forward pass.
        num_workers: threads that prepare clips.
    """

    checkpoint: str
    input: str
    top_k: Annotated[int, ">= 1"] = 5
    format: str | None = None
    layout: str | None = None
    unit: (
        Literal["pixels", "share", "signed", "metres", "millimetres", "centimetres", "inches"]
        | None
    ) = None
    image_shape: tuple[int, int] | None = None
    batch_size: Annotated[int, ">= 1, <= 65536"] = 16
    num_workers: Annotated[int, ">= 1"] = 1

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        check_image_shape(self.image_shape)

    def __call__(self, experiment: Experiment) -> None:
        """Predict, and write and print the likeliest classes of each recording."""
        folder = experiment.folder
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        settings: Dataset = experiment.made("dataset")
        with blamed_on("task.input"):
            layout = load_layout(settings.layout)
            recordings = read_inputs(
                Path(self.input).expanduser(), layout, settings.num_persons, self._how(settings)
            )
        problem = experiment.classification("predict")
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        device, _ = experiment.device()
        dataset = input_clips(
            recordings,
            settings,
            experiment.made("pipeline"),
            experiment.made("stream"),
            experiment.seed,
        )
        compiled = device.compiles(forward_passes([dataset], self.batch_size))
        predict = Predictor(restored_model(experiment, checkpoint, [dataset]), compiled)
        with console.progress_bar() as bar, StopRequest() as stop:
            evaluator = Evaluator(
                problem, predict, self.batch_size, self.num_workers, stop=stop, bar=bar
            )
            scores, _ = evaluator.predictions("input", dataset)
        rows = likeliest(dataset.names, scores, experiment.classes, self.top_k)
        write_csv(folder / "predicted.csv", rows)
        files.write_json(folder / "predicted.json", rows)
        for row in rows[:10]:
            first = row["classes"][0]
            log.info("%s: %s %.1f %%", row["name"], first["class"], 100 * first["probability"])
        if len(rows) > 10:
            log.info("and %d more", len(rows) - 10)
        console.say(f"predictions: {folder / 'predicted.csv'}")

    def _how(self, settings: Dataset) -> Reading:
        """What the files leave open; the network takes as many coordinates as it was trained on."""
        shape = None if self.image_shape is None else (self.image_shape[0], self.image_shape[1])
        num_coordinates = settings.num_coordinates
        return Reading(self.format, self.layout, self.unit, shape, num_coordinates)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """One line per recording and rank: name, rank, label, class, probability.

    Names stand as a spreadsheet may read them (`spreadsheet_text`).
    """
    with (
        files.replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)  # all texts, whatever separates
        writer.writerow(["name", "rank", "label", "class", "probability"])
        for row in rows:
            for rank, one in enumerate(row["classes"], start=1):
                name, known = spreadsheet_text(row["name"]), spreadsheet_text(one["class"])
                writer.writerow([name, rank, one["label"], known, one["probability"]])


def spreadsheet_text(name: str) -> str:
    """The name, behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{name}" if name.startswith(FORMULA_STARTS) else name
