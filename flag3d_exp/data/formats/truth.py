"""Ground truth of timelines: a CSV file of segments, or of the class of each frame.

Columns: name (of the recording), class (a name or a number), and either first and last (frames
from 0, inclusive) or frame; person (from 0) is optional. `timeline.csv`, which `task=predict`
writes, has this form. Frames without a row have no class. Size: T frames.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from flag3d_exp.errors import UserError, nearest
from flag3d_exp.faults import Faults
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_text
from flag3d_exp.results.timeline import UNKNOWN

MAX_BYTES, MAX_FRAME = 64 << 20, 10_000_000
Stretch = tuple[int, int, int]  # first and last frame, label


def read_truth(path: Path, classes: Sequence[str]) -> dict[tuple[str, int], list[Stretch]]:
    """The stretches of frames of each (recording, person), in the file's order.

    Args:
        classes: names of the labels; `unknown` means no class.

    Raises:
        UserError: some lines are invalid; the message names each of them and its fault.
    """
    try:
        rows = list(csv.reader(io.StringIO(file_text(path, MAX_BYTES), newline="")))
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error
    except csv.Error as error:
        raise UserError(f"{path}: {error}.") from error
    header = [column.strip().lower() for column in rows[0]] if rows else []
    header = ["name" if column == "recording" else column for column in header]
    spans = {"first", "last"} <= set(header)
    if not {"name", "class"} <= set(header) or not (spans or "frame" in header):
        raise UserError(
            f"{path} must have columns name, class and first and last, or frame; it has "
            f"{', '.join(header)[:200] or 'none'}."
        )
    numbers = {name: label for label, name in enumerate(classes)} | {"unknown": UNKNOWN}
    found: dict[tuple[str, int], list[Stretch]] = {}
    faults = Faults("line")
    for line, cells in enumerate(rows[1:], start=2):
        if not any(cells):
            continue
        with faults.of(str(line)):
            row = dict(zip(header, cells, strict=False))
            first = _frame(row, "first" if spans else "frame")
            last = _frame(row, "last") if spans else first
            if last < first:
                raise UserError(f"`last` is before `first`: {last} and {first}.")
            person = _frame(row, "person") if row.get("person", "").strip() else 0
            label = _label(row.get("class", "").strip(), numbers)
            found.setdefault((row["name"].removeprefix("'"), person), []).append(
                (first, last, label)
            )
    faults.refuse(str(path))
    if not found:
        raise UserError(f"{path} holds no rows under its header.")
    return found


def frame_labels(stretches: Sequence[Stretch], num_frames: int, name: str) -> np.ndarray:
    """(T,) label of each frame; `UNKNOWN` outside of all stretches.

    Raises:
        UserError: a stretch exceeds the recording, or two stretches overlap.
    """
    labels = np.full(num_frames, UNKNOWN)
    named = np.zeros(num_frames, bool)
    for first, last, label in stretches:
        if last >= num_frames:
            raise UserError(f"{name!r} has {num_frames} frames; `task.truth` names frame {last}.")
        if named[first : last + 1].any():
            raise UserError(f"{name!r}: `task.truth` names a frame of {first} to {last} twice.")
        labels[first : last + 1], named[first : last + 1] = label, True
    return labels


def _label(name: str, numbers: Mapping[str, int]) -> int:
    if name in numbers:
        return numbers[name]
    if name.isdecimal() and len(name) < 9 and int(name) < len(numbers) - 1:
        return int(name)
    raise UserError(f"{name!r:.80} is not a class of the network.{nearest(name, numbers)}")


def _frame(row: Mapping[str, str], column: str) -> int:
    text = row.get(column, "").strip()
    if not text.isdecimal() or len(text) > 9 or int(text) > MAX_FRAME:
        raise UserError(
            f"`{column}` must be a whole number from 0 to {MAX_FRAME}; got {text!r:.40}."
        )
    return int(text)
