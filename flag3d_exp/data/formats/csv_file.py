"""Keypoints in a CSV file: a header, and a row for each joint in each frame.

Required columns: recording, frame, joint (its number or its name in the layout), x, y, z in 3D, and
label (a number or a class name) unless the recordings are only to be predicted. Optional columns:
person (from 0), score, subject and split. A joint is missing in a frame if it has no row, or if all
its coordinates are empty or NaN.
"""

import csv
import math
import re
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.errors import UserError, nearest
from flag3d_exp.faults import Faults
from flag3d_exp.names import name_fault
from flag3d_exp.skeletons.layout import Layout

REQUIRED = ("recording", "frame", "joint", "x", "y")
MAX_PERSON, MAX_FRAME = 999, 2**31 - 1
# Limits on the size of arrays: joints per row (missing joints have no row), and a number of joints
# that any file may have.
MAX_SPARSITY, FREE_VALUES = 200, 5_000_000
WHOLE = re.compile(r"\s*(-?\d{1,15})(\.0*)?\s*")


def read_csv(path: Path, layout: Layout, labelled: bool = True) -> list[dict[str, Any]]:
    """Annotations, as in a pickle, in order of the recordings' first rows.

    Args:
        layout: of the joints that the rows name.
        labelled: require and read the column `label`.

    Raises:
        UserError: some lines are invalid; the message names each of them and its fault.
    """
    table = _Table(path, layout, labelled)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table.read(file)
    except UnicodeDecodeError as error:
        kind = "UTF-8 text (in Excel: save as `CSV UTF-8`)"
        raise UserError(f"{path} is not {kind}; byte {error.start} is invalid.") from error
    except csv.Error as error:
        raise UserError(f"{path}: line {table.line}: {error}.") from error
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from error
    return table.annotations()


class _Table:
    """The numbers in a file's rows, grouped by recording, and the faults of invalid rows."""

    def __init__(self, path: Path, layout: Layout, labelled: bool) -> None:
        self.path, self.layout, self.labelled = path, layout, labelled
        self.line = self.num_rows = 0
        self.rows: dict[str, array[float]] = {}
        self.facts: dict[str, dict[str, Any]] = {}  # label, split and subject of a recording
        self.axes: tuple[str, ...] = ("x", "y")
        self.scored = False
        self.joints: dict[str, int | str] = {}  # by name: a number, or an error message
        self.faults = Faults("line")

    def read(self, file: Any) -> None:
        """Read all rows."""
        reader = csv.reader(file)
        columns = [column.strip().lower() for column in next(reader, [])]
        self._check(columns)
        self.axes = ("x", "y", "z") if "z" in columns else ("x", "y")
        self.scored = "score" in columns
        for cells in reader:
            self.line = reader.line_num
            if not cells:
                continue
            self.num_rows += 1
            try:
                if len(cells) < len(columns) or any(cells[len(columns) :]):
                    raise ValueError(f"it has {len(cells)} cells for {len(columns)} columns")
                self._add(dict(zip(columns, cells, strict=False)))
            except ValueError as error:
                self.faults.add(str(self.line), f"{error}.")

    def annotations(self) -> list[dict[str, Any]]:
        """The annotations in all rows."""
        left, made = FREE_VALUES + MAX_SPARSITY * self.num_rows, []
        for name, members in self.rows.items():
            numbers = np.frombuffer(members).reshape(-1, 5 + len(self.axes))
            self._refuse_repeated(numbers)
            if self.faults.count:
                continue
            arrays = self._arrays(numbers, name, left)
            left -= arrays["scores"].size
            if not self.scored:
                del arrays["scores"]  # follow from the coordinates: 1 if visible, else 0
            made.append({"name": name} | self.facts[name] | arrays)
        self.faults.refuse(str(self.path))
        if not made:
            raise UserError(f"{self.path} holds no rows under its header.")
        return made

    def _check(self, columns: Sequence[str]) -> None:
        for column in REQUIRED + ("label",) * self.labelled:
            if columns.count(column) != 1:
                problem = "lacks the column" if column not in columns else "has two columns called"
                names = ", ".join(columns) or "none"
                raise UserError(f"{self.path} {problem} `{column}`; its columns: {names}.")

    def _add(self, row: Mapping[str, str]) -> None:
        name = row["recording"]
        joint = self._joint(row["joint"])
        facts: dict[str, Any] = {"subject": row.get("subject") or None}
        if self.labelled:
            facts |= {"label": _label(row), "split": row.get("split", "").strip() or None}
        for fact, value in self.facts.setdefault(name, facts).items():
            if value != facts[fact]:
                raise ValueError(f"{name!r} has a different {fact} than in earlier rows")
        person = _whole(row, "person") if row.get("person", "").strip() else 0
        frame = _whole(row, "frame")
        if not 0 <= person <= MAX_PERSON or not 0 <= frame <= MAX_FRAME:
            raise ValueError(
                f"`person` must be from 0 to {MAX_PERSON} and `frame` from 0 to {MAX_FRAME}; "
                f"got {person} and {frame}"
            )
        values = [_number(row, axis) for axis in self.axes]
        score = _number(row, "score") if "score" in row else 1.0
        if all(map(math.isnan, values)):
            values, score = [0.0] * len(values), 0.0
        elif any(map(math.isnan, values)):
            raise ValueError(f"only some of {', '.join(self.axes)} have a value")
        score = 1.0 if math.isnan(score) else score
        members = (self.line, person, frame, joint, *values, score)
        self.rows.setdefault(name, array("d")).extend(members)

    def _joint(self, name: str) -> int:
        """The number of a joint; each name is looked up once."""
        if name not in self.joints:
            number = self.layout.joint_number(name)
            hint = nearest(name, self.layout.joints) if number is None else ""
            refusal = f"{name!r} is not a joint of {self.layout.name}.{hint}"
            self.joints[name] = refusal if number is None else number
        known = self.joints[name]
        if isinstance(known, str):
            raise ValueError(known)
        return known

    def _refuse_repeated(self, numbers: np.ndarray) -> None:
        """Record a fault for each line that repeats the joint, person and frame of another line."""
        order = np.lexsort((numbers[:, 0], *numbers[:, 1:4].T))
        again = (np.diff(numbers[order, 1:4], axis=0) == 0).all(1)
        for line in numbers[order[1:][again], 0]:
            text = "it names a joint of a person and frame that an earlier line names."
            self.faults.add(f"{line:.0f}", text)

    def _arrays(self, numbers: np.ndarray, name: str, left: int) -> dict[str, np.ndarray]:
        """Keypoints and scores of one recording's rows.

        Args:
            left: maximum number of joints in all persons and frames.
        """
        person, frame, joint = numbers[:, 1:4].astype(int).T
        frame = frame - frame.min()
        shape = (int(person.max()) + 1, int(frame.max()) + 1, self.layout.num_joints)
        if shape[0] * shape[1] * shape[2] > left:
            raise UserError(
                f"{self.path}: {shape[0]} persons in {shape[1]} frames of {name!r} are too many "
                "for the number of its rows."
            )
        keypoints = np.zeros((*shape, len(self.axes)), np.float32)
        scores = np.zeros(shape, np.float32)
        keypoints[person, frame, joint] = numbers[:, 4:-1]
        scores[person, frame, joint] = numbers[:, -1]
        return {"keypoints": keypoints, "scores": scores}


def _label(row: Mapping[str, str]) -> int | str:
    """A class's number or its name."""
    label = row["label"].strip()
    if fault := name_fault(label):
        raise ValueError(f"`label` {fault}")
    return _whole(row, "label") if WHOLE.fullmatch(label) else label


def _whole(row: Mapping[str, str], column: str) -> int:
    if (match := WHOLE.fullmatch(row[column])) is None:
        raise ValueError(f"`{column}` must be a whole number; got {row[column]!r}")
    return int(match[1])


def _number(row: Mapping[str, str], column: str) -> float:
    """The number in a cell; NaN if it is empty."""
    try:
        number = float(row[column] or "nan")
    except ValueError:
        number = math.inf
    if math.isinf(number):
        raise ValueError(f"`{column}` must be a number; got {row[column]!r}")
    return number
