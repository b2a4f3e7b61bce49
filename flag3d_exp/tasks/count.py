"""`task=count`: count the repetitions of a movement in recordings.

By rules, without training; or by a network that was trained with `problem=count`.
"""

import csv
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from flag3d_exp import console, files
from flag3d_exp.config.experiment import Experiment, class_name
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.formats.detections import OpenFacts
from flag3d_exp.data.inputs import input_clips, read_any, read_inputs
from flag3d_exp.data.poses import visible
from flag3d_exp.data.source import Dataset
from flag3d_exp.data.windows import of_person
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.faults import Faults
from flag3d_exp.problems.count import Count as Problem
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_text
from flag3d_exp.results.attribution import in_batches
from flag3d_exp.results.density import Density, consensus
from flag3d_exp.results.intervals import Estimate
from flag3d_exp.results.repetitions import (
    autocorrelation_count,
    count_metrics,
    estimates_line,
    repetitions,
)
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.skeletons.layout import Layout, load_layout

log = logging.getLogger(__name__)
MAX_TOLD, MAX_COUNT = 20, 100_000


@dataclass(frozen=True)
class Count(OpenFacts):
    """Settings of `task=count`, in addition to those of `OpenFacts`.

    Args:
        input: recordings, as `task=predict` takes them.
        truth: a CSV file of true counts (name, count, and optional person); None: not known, unless
            each recording shows one person and has the field `repetitions`.
        checkpoint: a checkpoint file, a run folder (its best checkpoint) or an MLflow run id, of a
            run with `problem=count`; None: count by rules.
        ensemble: further checkpoints, of runs that differ from the first in their seed; the outputs
            of all networks are averaged.
        consensus: with a checkpoint, the count is the median of the network's, that of the rules
            and that by autocorrelation.
        num_persons: largest number of persons to keep of a video.
        score_threshold: joints with a score of at most this are missing.
        batch_size: clips per forward pass of the network.
    """

    input: str
    truth: str | None = None
    checkpoint: str | None = None
    ensemble: list[str] = field(default_factory=list)
    consensus: bool = False
    num_persons: Annotated[int, ">= 1, <= 200"] = 8
    score_threshold: Annotated[float, ">= 0, < 1"] = 0.1
    batch_size: Annotated[int, ">= 1, <= 65536"] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = "task.consensus" if self.consensus else "task.ensemble" if self.ensemble else None
        if asked and self.checkpoint is None:
            raise UserError(
                f"`{asked}` needs `task.checkpoint`, a network of `problem=count`: without it, the "
                "rules alone count."
            )

    def __call__(self, experiment: Experiment) -> None:
        """Count, write tables and the player, and compare with the true counts if given."""
        from flag3d_exp.report.timeline import player, timeline_figure

        folder = experiment.folder
        if self.checkpoint is not None:
            check_counts(experiment)
        with blamed_on("task.input"):
            layout, recordings = self._read_input(experiment)
            refuse_odd(recordings, layout.num_joints)
        truth = known_counts(recordings)
        if self.truth is not None:
            truth = read_counts(Path(self.truth).expanduser())
        persons = [person for one in recordings for person in self._persons(one)]
        counted: Sequence[Density | None] = [None] * len(persons)
        if self.checkpoint is not None:
            counted = densities(
                experiment,
                [self.checkpoint, *self.ensemble],
                [of_person(*one[:2]) for one in persons],
                self.batch_size,
            )
        rows = [self._row(*one, density) for one, density in zip(persons, counted, strict=True)]
        found = None if truth is None else metrics_of_counts(rows, truth)
        files.write_json(folder / "counts.json", rows)
        columns = ["name", "person", "count", "repetition", "first", "last"]
        files.write_rows(folder / "counts.csv", columns, count_rows(rows))
        files.write_figure(folder / "timeline.png", timeline_figure(rows), 120)
        files.write_text(folder / "timeline.html", player(recordings, rows, layout, 10))
        for row in rows[:MAX_TOLD]:
            log.info("%s, person %d: %d repetitions", row["name"], row["person"], row["count"])
        if len(rows) > MAX_TOLD:
            log.info("and %d more", len(rows) - MAX_TOLD)
        if found is not None:
            write_metrics(folder / "metrics.json", found)
        console.say(f"counts: {folder / 'counts.csv'}, and timeline.html in the same folder")

    def _read_input(self, experiment: Experiment) -> tuple[Layout, list[Recording]]:
        """The recordings and their layout; with a network, in its layout and coordinates."""
        path = Path(self.input).expanduser()
        if self.checkpoint is None:
            how = self.reading(num_persons=self.num_persons)
            return read_any(path, how, num_persons=self.num_persons)
        settings: Dataset = experiment.build("dataset")
        layout, flat = load_layout(settings.layout), settings.num_coordinates == 2
        how = self.reading(settings.num_coordinates, self.num_persons)
        recordings = read_inputs(path, layout, self.num_persons, how)
        if flat and self.layout == "mediapipe":
            deep = sum(one.keypoints.shape[-1] == 3 for one in recordings)
            if deep:
                log.info("MediaPipe's depth is dropped in %d recordings", deep)
            recordings = [replace(o, keypoints=o.keypoints[..., :2]) for o in recordings]
        return layout, recordings

    def _persons(self, recording: Recording) -> list[tuple[Recording, int, np.ndarray]]:
        """Number and visible joints (T, V) of each person seen; of the first if nobody is seen."""
        joints = visible(recording.keypoints, recording.scores, self.score_threshold)
        there = np.flatnonzero(joints.any((1, 2))).tolist() or [0]
        return [(recording, person, joints[person]) for person in there]

    def _row(
        self, recording: Recording, person: int, seen: np.ndarray, density: Density | None
    ) -> dict[str, Any]:
        """What is known of a person: counted by rules, by the network, or by all methods.

        Args:
            density: what the network says; None without one.
        """
        keypoints = recording.keypoints[person]
        rules = repetitions(keypoints, seen)
        autocorrelation = autocorrelation_count(keypoints, seen)
        spans, others = rules, {}
        if density is not None:
            spans, others = density.spans, {"rules": len(rules)}
            if self.consensus:
                others["network"] = len(spans)
                spans = consensus(spans, rules, autocorrelation)
        return {
            "name": recording.name,
            "person": person,
            "num_frames": len(seen),
            "count": len(spans),
            "autocorrelation": autocorrelation,
            "segments": [],
            "repetitions": spans_in_rows(spans),
            **others,
        }


def spans_in_rows(spans: Sequence[tuple[int, int]]) -> list[dict[str, int]]:
    """First and last frames by name, for a JSON file."""
    return [{"first": first, "last": last} for first, last in spans]


def check_counts(experiment: Experiment) -> None:
    """Check that the network of the checkpoint counts.

    Raises:
        UserError: it was trained with another problem.
    """
    problem = experiment.problem()
    if not isinstance(problem, Problem):
        chosen = experiment.choices.get("problem", class_name(experiment.config.problem))
        raise UserError(
            "`task.checkpoint` must be of a run with `problem=count`; this network was trained "
            f"with `problem={chosen}`. Without `task.checkpoint`, `task=count` counts by rules."
        )


def densities(
    experiment: Experiment,
    references: Sequence[str],
    recordings: Sequence[Recording],
    batch_size: int,
) -> list[Density]:
    """What the networks of checkpoints say about recordings of one person each, on average.

    Args:
        references: the checkpoints, the first as `task.checkpoint`, others as `task.ensemble`.
        batch_size: clips per forward pass.

    Raises:
        UserError: a checkpoint can't be used, or the recordings do not fit the network.
    """
    from flag3d_exp.config.restore import restored_model
    from flag3d_exp.engine.checkpoint import load_checkpoint
    from flag3d_exp.engine.predict import Predictor

    checkpoints = []
    for number, reference in enumerate(references):
        key = "task.ensemble" if number else "task.checkpoint"
        path = find_checkpoint(reference, key, experiment.tracking_uri)
        with blamed_on(key):
            checkpoints.append((key, load_checkpoint(path)))
    made = experiment.build
    with blamed_on("task.input"):
        dataset = input_clips(
            recordings, made("dataset"), made("pipeline"), made("stream"), experiment.seed
        )
    problem = experiment.problem()
    assert isinstance(problem, Problem)
    device, _ = experiment.device()
    networks = []
    for key, checkpoint in checkpoints:
        with blamed_on(key):
            model = restored_model(experiment, checkpoint, [dataset], key=key)
        networks.append(Predictor(model, device.compiles()))
    found = []
    with console.progress_bar() as bar:
        for index, one in enumerate(recordings):
            clips = dataset.clips(index)
            keypoints = problem.test_inputs(clips, {})["keypoints"]
            outputs = [in_batches(predict, keypoints, batch_size) for predict in networks]
            mean = np.mean(outputs, axis=0)
            found.append(problem.density(mean, clips, one.keypoints.shape[1]))
            bar.show("counting", len(found), len(recordings))
    return found


def known_counts(recordings: Sequence[Recording]) -> dict[tuple[str, int], int] | None:
    """The true count of each (recording, person), if all recordings of one person tell it."""
    found = {}
    for one in recordings:
        if one.repetitions is None or len(one.keypoints) > 1:
            return None
        found[one.name, 0] = len(one.repetitions)
    return found


def refuse_odd(recordings: Sequence[Recording], num_joints: int) -> None:
    """Refuse recordings with another number of joints than the layout, or with NaN or infinity.

    Raises:
        UserError: names all of them.
    """
    faults = Faults()
    for one in recordings:
        if one.keypoints.shape[2] != num_joints:
            found = one.keypoints.shape[2]
            faults.add(repr(one.name), f"it has {found} joints, its layout {num_joints}.")
        elif not one.finite:
            faults.add(repr(one.name), "it holds NaN or infinite values.")
    faults.refuse("")


def read_counts(path: Path) -> dict[tuple[str, int], int]:
    """The true count of each (recording, person) of a CSV file.

    Raises:
        UserError: names all lines that can't be used, with reasons.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(file_text(path), newline="")))
    except (Malformed, csv.Error) as error:
        raise UserError(f"`task.truth`: {path}: {error}.") from error
    if not rows or not {"name", "count"} <= rows[0].keys():
        raise UserError(f"`task.truth`: {path} must have rows under columns name and count.")
    found: dict[tuple[str, int], int] = {}
    faults = Faults("line")
    for line, row in enumerate(rows, start=2):
        numbers = [(row.get("person") or "0").strip(), (row["count"] or "").strip()]
        if not all(text.isdecimal() and len(text) < 9 for text in numbers):
            faults.add(str(line), "`count` and `person` must be whole numbers from 0.")
            continue
        person, count = map(int, numbers)
        if count > MAX_COUNT or (row["name"], person) in found:
            faults.add(str(line), "its count is too large, or an earlier line names the person.")
        found[row["name"] or "", person] = count
    faults.refuse(f"`task.truth`: {path}")
    return found


def metrics_of_counts(
    rows: Sequence[Mapping[str, Any]], truth: Mapping[tuple[str, int], int]
) -> dict[str, dict[str, Estimate]]:
    """The metrics of the counts and of the simpler methods, for all true counts.

    Raises:
        UserError: the truth names a recording or a person who is not seen.
    """
    known = {(row["name"], row["person"]): row for row in rows}
    for name, person in truth:
        if (name, person) not in known:
            hint = nearest(name, [other for other, _ in known])
            raise UserError(
                f"`task.truth` names person {person} of {name!r:.80}, who is not seen in "
                f"`task.input`.{hint}"
            )
    true = list(truth.values())
    return {
        key: count_metrics([known[one][key] for one in truth], true)
        for key in ("count", "network", "rules", "autocorrelation")
        if key in rows[0]
    }


def write_metrics(path: Path, found: Mapping[str, Mapping[str, Estimate]]) -> None:
    """Write and print MAE and OBO with 95 % intervals, also of the simpler methods."""
    values = {
        f"{key}/{name}": estimate.value
        for key, metrics in found.items()
        for name, estimate in metrics.items()
    }
    files.write_json(path, values)
    for key, metrics in found.items():
        log.info("%s: %s", {"count": "counted"}.get(key, key), estimates_line(metrics))


def count_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Any]]:
    """A row for each repetition: name, person, count of the person, number, first, last frame.

    A person without a repetition has one row, with a count of 0.
    """
    for row in rows:
        for number, one in enumerate(row["repetitions"], start=1):
            yield [row["name"], row["person"], row["count"], number, one["first"], one["last"]]
        if not row["count"]:
            yield [row["name"], row["person"], 0, "", "", ""]
