"""`task=count`: count the repetitions of a movement in recordings, without training."""

import csv
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from flag3d_exp import console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.formats.detections import OpenFacts
from flag3d_exp.data.inputs import read_any
from flag3d_exp.data.poses import visible
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.faults import Faults
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_text
from flag3d_exp.results.intervals import Estimate
from flag3d_exp.results.repetitions import autocorrelation_count, count_metrics, repetitions

log = logging.getLogger(__name__)
MAX_TOLD, MAX_COUNT = 20, 100_000


@dataclass(frozen=True)
class Count(OpenFacts):
    """Settings of `task=count`, in addition to those of `OpenFacts`.

    Args:
        input: recordings, as `task=predict` takes them.
        truth: a CSV file of true counts (name, count, and optional person); None: not known.
        num_persons: largest number of persons to keep of a video.
        score_threshold: joints with a score of at most this are missing.
    """

    input: str
    truth: str | None = None
    num_persons: Annotated[int, ">= 1, <= 200"] = 8
    score_threshold: Annotated[float, ">= 0, < 1"] = 0.1

    def __call__(self, experiment: Experiment) -> None:
        """Count, write tables and the player, and compare with the true counts if given."""
        from flag3d_exp.report.timeline import player, timeline_figure

        folder = experiment.folder
        how = self.reading(num_persons=self.num_persons)
        with blamed_on("task.input"):
            layout, recordings = read_any(
                Path(self.input).expanduser(), how, num_persons=self.num_persons
            )
            refuse_odd(recordings, layout.num_joints)
        truth = None if self.truth is None else read_counts(Path(self.truth).expanduser())
        rows = [row for one in recordings for row in self._counted(one)]
        found = None if truth is None else judged(rows, truth)
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

    def _counted(self, recording: Recording) -> list[dict[str, Any]]:
        """A row for each person seen in a recording; if nobody is seen, one row without a count."""
        joints = visible(recording.keypoints, recording.scores, self.score_threshold)
        rows = []
        for person, (keypoints, seen) in enumerate(zip(recording.keypoints, joints, strict=True)):
            if not seen.any() and (person or joints.any()):
                continue
            spans = repetitions(keypoints, seen)
            rows.append(
                {
                    "name": recording.name,
                    "person": person,
                    "num_frames": len(seen),
                    "count": len(spans),
                    "autocorrelation": autocorrelation_count(keypoints, seen),
                    "segments": [],
                    "repetitions": [{"first": first, "last": last} for first, last in spans],
                }
            )
        return rows


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


def judged(
    rows: Sequence[Mapping[str, Any]], truth: Mapping[tuple[str, int], int]
) -> dict[str, dict[str, Estimate]]:
    """The metrics of the counts and of the autocorrelation baseline, for all true counts.

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
        for key in ("count", "autocorrelation")
    }


def write_metrics(path: Path, found: Mapping[str, Mapping[str, Estimate]]) -> None:
    """Write and print MAE and OBO with 95 % intervals, also of the autocorrelation baseline."""
    values = {
        f"{key}/{name}": estimate.value
        for key, metrics in found.items()
        for name, estimate in metrics.items()
    }
    files.write_json(path, values)
    for key, metrics in found.items():
        parts = [
            f"{name.upper()} {one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
            for name, one in metrics.items()
        ]
        log.info("%s: %s", {"count": "counted"}.get(key, key), ", ".join(parts))


def count_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Any]]:
    """A row for each repetition: name, person, count of the person, number, first, last frame.

    A person without a repetition has one row, with a count of 0.
    """
    for row in rows:
        for number, one in enumerate(row["repetitions"], start=1):
            yield [row["name"], row["person"], row["count"], number, one["first"], one["last"]]
        if not row["count"]:
            yield [row["name"], row["person"], 0, "", "", ""]
