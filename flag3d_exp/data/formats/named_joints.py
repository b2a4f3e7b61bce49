"""Tables and lists with named joints, such as MoveNet's, SLEAP's and MediaPipe's long tables.

- wide CSV: columns `left_shoulder_x`, `left_shoulder_y`, or `A.x`, `A.y`, `A.score`;
- long CSV: a row for each joint in each frame, with columns for frame, joint, x, y, z, score;
- JSON: a list of frames `{"left_shoulder": {"x": 1, "y": 2}}`;
- DeepLabCut CSV: three or four rows of header: scorer, (individuals,) bodyparts, coords.

The layout is the smallest one with all these names, or the one that the user sets.
"""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from flag3d_exp.data.formats.detections import Detections, Rows, number_of, numbers
from flag3d_exp.data.formats.mediapipe import FRAME_COLUMNS, y_down_to_y_up
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.skeletons.layout import Layout, load_layout

SCORES = ("score", "likelihood", "visibility", "confidence", "conf", "vis", "v", "c")
AXES = {"x": 0, "y": 1, "z": 2} | dict.fromkeys(SCORES, 3)
WIDE = re.compile(rf"(.+?)[._ -](x|y|z|{'|'.join(SCORES)})", re.IGNORECASE)
JOINT_COLUMNS = ("joint", "landmark", "keypoint", "bodypart", "name", "landmark_name")
PERSON_COLUMNS = ("person", "person_id", "track", "track_id", "individual")
KNOWN = ("mediapipe", "coco", "halpe26", "nturgb+d", "azure", "body25", "h36m", "smpl", "kinect20")
MAX_FRAME = 2**31 - 1
# Limits on the joints of all frames: a number that any table may have, and joints per row of a long
# table.
FREE_JOINTS, MAX_SPARSITY = 1_000_000, 20


def is_wide(columns: Sequence[str]) -> bool:
    """Whether a CSV file's header has columns for x and y of joints."""
    found = [match for column in columns if (match := WIDE.fullmatch(column.strip()))]
    return len({match[1] for match in found if match[2].lower() in "xy"}) >= 2


def is_long(columns: Sequence[str]) -> bool:
    """Whether a CSV file's header is that of a table with a row per joint and frame."""
    names = {column.strip().lower() for column in columns}
    return (
        bool(names & set(JOINT_COLUMNS) and names & set(FRAME_COLUMNS) and {"x", "y"} <= names)
        and "recording" not in names
    )


def is_deeplabcut(columns: Sequence[str]) -> bool:
    """Whether a CSV file's first row is a DeepLabCut header."""
    return bool(columns) and columns[0].strip().lower() == "scorer"


def is_by_name(content: Any) -> bool:
    """Whether a JSON file's content is a list of frames of named joints."""
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict) or len(first) < 3:
        return False
    return all(isinstance(one, dict) and {"x", "y"} <= one.keys() for one in first.values())


def read_csv(name: str, text: str, layout: str | None) -> list[Detections]:
    """The frames of a CSV file in one of these forms.

    Args:
        layout: the name of the joints' layout; None: the smallest one with all names.

    Raises:
        UserError: a line is invalid, or no layout has all joints; the message names it or them.
    """
    lines = [(at, row) for at, row in enumerate(csv.reader(io.StringIO(text)), start=1) if any(row)]
    header = [cell.strip() for cell in lines[0][1]]
    if is_deeplabcut(header):
        header, lines = _deeplabcut(name, [row for _, row in lines[:4]], lines)
        return _wide(name, header, lines, layout)
    if is_long(header):
        return _long(name, [column.lower() for column in header], lines[1:], layout)
    return _wide(name, header, lines[1:], layout)


def read_json(name: str, content: Any, layout: str | None) -> list[Detections]:
    """The frames of a JSON list of named joints; a frame may lack some joints, or be empty."""
    joints = list(dict.fromkeys(joint for frame in content if isinstance(frame, dict)
                                for joint in frame))  # fmt: skip
    chosen = chosen_layout(joints, layout, name)
    order = [chosen.joint_number(joint) for joint in joints]
    rows = Rows()
    deep = any("z" in one for one in content[0].values())
    keys = ("x", "y", "z") if deep else ("x", "y")
    scored = next((key for key in ("score", "visibility", "confidence")
                   if key in next(iter(content[0].values()))), None)  # fmt: skip
    for number, frame in enumerate(content):
        rows.seen.append(number)
        if not isinstance(frame, dict):
            raise UserError(f"{name!r}, frame {number}: it must be an object of joints.")
        values = np.full((chosen.num_joints, 4), np.nan)
        for joint, at in zip(joints, order, strict=True):
            one = frame.get(joint)
            if not isinstance(one, dict) or at is None:
                continue
            found = [one.get(key) for key in (*keys, *([scored] if scored else []))]
            try:
                values[at, : len(found)] = numbers(found, joint)
            except UserError as error:
                raise UserError(f"{name!r}, frame {number}: {error}") from error
        _add(rows, number, values[:, : len(keys)], values[:, len(keys)] if scored else None)
    return [_detections(name, chosen, rows)]


def chosen_layout(joints: Sequence[str], layout: str | None, name: str) -> Layout:
    """The given layout, or the smallest one that has all these joints.

    Raises:
        UserError: the given layout has none of the joints, or no known layout has all of them.
    """
    if layout is not None:
        given = load_layout(layout, "task.layout")
        if not any(given.joint_number(joint) is not None for joint in joints):
            hint = nearest(joints[0], given.joints)
            raise UserError(f"{name!r}: {given.name} has none of its joints, such as "
                            f"{joints[0]!r:.60}.{hint}")  # fmt: skip
        return given
    fitting = [one for one in map(load_layout, KNOWN)
               if all(one.joint_number(joint) is not None for joint in joints)]  # fmt: skip
    if not fitting:
        raise UserError(
            f"{name!r}: no layout has all of its joints ({', '.join(joints[:5])[:100]}, ...); name "
            "one, or a file of your own, by `task.layout`."
        )
    return min(fitting, key=lambda one: one.num_joints)


def _deeplabcut(
    name: str, head: Sequence[Sequence[str]], lines: list[tuple[int, list[str]]]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header `joint.axis` and the rows of a DeepLabCut file of one individual."""
    rows = {row[0].strip().lower(): row for row in head}
    if "individuals" in rows and len(set(rows["individuals"][1:]) - {""}) > 1:
        raise UserError(f"{name!r}: DeepLabCut files of several individuals are not read.")
    if not {"bodyparts", "coords"} <= rows.keys():
        raise UserError(f"{name!r} must have rows of `bodyparts` and `coords` in its header.")
    pairs = zip(rows["bodyparts"], rows["coords"], strict=False)
    header = [f"{part}.{axis}" if part else "" for part, axis in pairs]
    return header, lines[3 + ("individuals" in rows) :]


def _wide(
    name: str, header: Sequence[str], lines: list[tuple[int, list[str]]], layout: str | None
) -> list[Detections]:
    found = [(at, match) for at, column in enumerate(header) if (match := WIDE.fullmatch(column))]
    skipped = ("instance",)  # SLEAP's score of a whole person
    found = [(at, match) for at, match in found if match[1].lower() not in skipped]
    joints = list(dict.fromkeys(match[1] for _, match in found))
    chosen = chosen_layout(joints, layout, name)
    columns = [(at, chosen.joint_number(match[1]), AXES[match[2].lower()]) for at, match in found]
    lower = [column.lower() for column in header]
    frame_column = next((lower.index(c) for c in FRAME_COLUMNS if c in lower), None)
    person_column = next((lower.index(c) for c in PERSON_COLUMNS if c in lower), None)
    used = {axis for _, _, axis in columns}
    size = 3 if 2 in used else 2
    rows, identities = Rows(), {}
    for at, (line, cells) in enumerate(lines):
        try:
            frame = at if frame_column is None else int(number_of(cells[frame_column]))
            if not 0 <= frame <= MAX_FRAME:
                raise UserError(f"the frame must be from 0 to {MAX_FRAME}; got {frame}.")
            values = np.full((chosen.num_joints, 4), np.nan)
            for column, joint, axis in columns:
                if joint is not None:
                    values[joint, axis] = number_of(cells[column])
            person = cells[person_column].strip() if person_column is not None else ""
            identity = identities.setdefault(person, len(identities)) if person else -1
            rows.seen.append(frame)
            _add(rows, frame, values[:, :size], values[:, 3] if 3 in used else None, identity)
        except (UserError, ValueError, IndexError) as error:
            raise UserError(f"{name!r}, line {line}: {error}") from error
    return [_detections(name, chosen, rows)]


def _long(
    name: str, header: Sequence[str], lines: list[tuple[int, list[str]]], layout: str | None
) -> list[Detections]:
    joint_column = next(header.index(c) for c in JOINT_COLUMNS if c in header)
    frame_column = next(header.index(c) for c in FRAME_COLUMNS if c in header)
    person_column = next((header.index(c) for c in PERSON_COLUMNS if c in header), None)
    axes = [(header.index(axis), at) for axis, at in AXES.items() if axis in header]
    joints = list(dict.fromkeys(row[joint_column] for _, row in lines if len(row) > joint_column))
    chosen = chosen_layout(joints, layout, name)
    size = 3 if "z" in header else 2
    scored = any(at == 3 for _, at in axes)
    poses: dict[tuple[int, str], np.ndarray] = {}
    for line, cells in lines:
        try:
            frame = int(number_of(cells[frame_column]))
            if not 0 <= frame <= MAX_FRAME:
                raise UserError(f"the frame must be from 0 to {MAX_FRAME}; got {frame}.")
            person = cells[person_column].strip() if person_column is not None else ""
            joint = chosen.joint_number(cells[joint_column])
            if joint is None:
                continue
            if (frame, person) not in poses:
                if len(poses) * chosen.num_joints > FREE_JOINTS + MAX_SPARSITY * len(lines):
                    raise UserError("there are too many frames for the rows of the file.")
                poses[frame, person] = np.full((chosen.num_joints, 4), np.nan)
            values = poses[frame, person]
            for column, at in axes:
                values[joint, at] = number_of(cells[column])
        except (UserError, ValueError, IndexError) as error:
            raise UserError(f"{name!r}, line {line}: {error}") from error
    rows, identities = Rows(), {}
    for (frame, person), values in poses.items():
        identity = identities.setdefault(person, len(identities)) if person else -1
        rows.seen.append(frame)
        _add(rows, frame, values[:, :size], values[:, 3] if scored else None, identity)
    return [_detections(name, chosen, rows)]


def _add(
    rows: Rows, frame: int, places: np.ndarray, scores: np.ndarray | None, identity: int = -1
) -> None:
    """Add a person; a frame without joints has no person."""
    there = np.isfinite(places).all(-1)
    if not there.any():
        return
    if np.abs(places[there]).max() > 1e7:
        raise UserError("a coordinate is beyond 1e7.")
    if scores is not None:
        scores = np.where(there & np.isnan(scores), 1.0, scores)
    rows.add(frame, places, scores, identity)


def _detections(name: str, layout: Layout, rows: Rows) -> Detections:
    upwards = y_down_to_y_up if layout.name == "mediapipe" else None
    return rows.detections(name, layout.name, upwards=upwards)
