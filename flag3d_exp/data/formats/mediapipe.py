"""Landmarks of MediaPipe Pose: tables with a row per frame, and lists of frames in JSON.

MediaPipe itself writes no files, but programs that use it do. These forms are read:

- wide CSV with a header (`class,x1,y1,z1,v1,...`);
- wide CSV without a header (`file,class,` and 99 numbers, as in ML Kit's samples);
- arrays (T, 33, 3 or 4) and (T, 99 or 132) in .npy and JSON files; .npy also with other joints
  and with several persons;
- lists of frames of `{"x", "y", "z", "visibility"}`.

Image landmarks are shares of the image or pixels. World landmarks are metres with y downwards.

Sizes: T frames, 33 joints.
"""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.data.formats.alphapose import frame_of
from flag3d_exp.data.formats.detections import (
    MAX_JOINTS,
    Detections,
    Rows,
    number_of,
    numbers,
    whole,
)
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npy_array

NUM_JOINTS = 33
NUMBERED = re.compile(r"([xyzv])_?(\d{1,3})")
LISTS = ("pose_landmarks", "landmarks", "keypoints", "pose_world_landmarks", "poseLandmarks")
FRAMES = ("frames", "data", "results")
FRAME_COLUMNS = ("frame", "frame_number", "frame_idx", "frame_id", "index")
MAX_FRAMES = 1_000_000


def is_wide(columns: Sequence[str]) -> bool:
    """Whether a CSV file's first row is a header `x1, y1, z1, v1, ...` of at least 33 joints."""
    found = {column.strip().lower().replace("_", "") for column in columns}
    from_one, from_zero = {"x1", "y1", f"x{NUM_JOINTS}"}, {"x0", "y0", f"x{NUM_JOINTS - 1}"}
    return from_one <= found or from_zero <= found


def is_headless(cells: Sequence[str]) -> bool:
    """Whether a CSV file's first row is at most 3 other cells and then numbers of 33 joints."""
    return any(len(cells) - lead in (99, 132) and _all_numbers(cells[lead:]) for lead in range(4))


def is_landmarks(content: Any) -> bool:
    """Whether a JSON file's content consists of frames of 33 landmarks."""
    frames = _frames(content)
    return any(_persons(frame) for frame in frames)


def read_csv(name: str, text: str) -> list[Detections]:
    """The frames in the rows of a wide CSV file; image names in rows tell the video.

    Raises:
        UserError: a line is invalid; the message names it.
    """
    lines = list(csv.reader(io.StringIO(text)))
    lines = [(number, cells) for number, cells in enumerate(lines, start=1) if any(cells)]
    header = [cell.strip().lower() for cell in lines[0][1]]
    places: dict[str, list[int]] | None = None
    frame_column = None
    if is_wide(header):
        places = _columns(header)
        frame_column = next((header.index(c) for c in FRAME_COLUMNS if c in header), None)
        lines = lines[1:]
    videos: dict[str, Rows] = {}
    for at, (line, cells) in enumerate(lines):
        try:
            values = _row(cells, places)
            video, frame = "", at
            if frame_column is not None:
                frame = int(number_of(cells[frame_column]))
            elif places is None and not _is_number(cells[0]):
                video, frame = frame_of(cells[0])
            _add(videos.setdefault(video, Rows()), frame, values)
        except (UserError, ValueError, IndexError) as error:
            raise UserError(f"{name!r}, line {line}: {error}") from error
    return [_detections(name if len(videos) == 1 else video or name, rows)
            for video, rows in videos.items()]  # fmt: skip


def read_array(name: str, path: Path, layout: str | None) -> list[Detections]:
    """The frames in a .npy file: (M, T, V, 2 to 5), without M for one person, or (T, 99 or 132).

    The third number of a joint is z, the fourth is its visibility. 24 joints are SMPL's.

    Args:
        layout: of the joints; None: inferred from their number.

    Raises:
        UserError: the file does not hold such an array.
    """
    try:
        array = npy_array(path)
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from error
    shape = array.shape
    if array.ndim == 2 and shape[1] in (3 * NUM_JOINTS, 4 * NUM_JOINTS):
        array = array.reshape(len(array), NUM_JOINTS, -1)
    if array.ndim == 3:
        array = array[None]
    fits = array.ndim == 4 and 1 < array.shape[2] <= MAX_JOINTS and 2 <= array.shape[3] <= 5
    if array.dtype.kind not in "iuf" or not fits:
        raise UserError(
            f"{path} must be numbers of shape (frames, joints, 2 to 5), (persons, frames, joints, "
            f"2 to 5) or (frames, 99 or 132); got {array.dtype} of shape {shape}."
        )
    num_persons, num_frames, num_joints = array.shape[:3]
    if num_persons * num_frames > MAX_FRAMES:
        raise UserError(f"{name!r}: it has more than {MAX_FRAMES:,} frames of persons.")
    rows = Rows()
    for number in range(num_frames):
        for person in range(num_persons):
            values = np.asarray(array[person, number, :, :4], np.float64)
            _add(rows, number, values, person if num_persons > 1 else -1)
    known = {NUM_JOINTS: "mediapipe", 24: "smpl"}.get(num_joints)
    chosen = layout or known
    upwards = y_down_to_y_up if chosen == "mediapipe" else None
    return [rows.detections(name, chosen, upwards=upwards)]


def read_json(name: str, content: Any) -> list[Detections]:
    """The frames of a JSON file.

    Raises:
        UserError: a frame is invalid; the message names it.
    """
    frames = _frames(content)
    if len(frames) > MAX_FRAMES:
        raise UserError(f"{name!r}: it has more than {MAX_FRAMES:,} frames.")
    rows = Rows()
    for number, frame in enumerate(frames):
        try:
            given = frame if isinstance(frame, dict) else {}
            key = next((key for key in FRAME_COLUMNS if key in given), None)
            counted = number if key is None else whole(given[key], key)
            for joints in _persons(frame):
                _add(rows, counted, _values(joints))
            rows.seen.append(counted)
        except UserError as error:
            raise UserError(f"{name!r}, frame {number}: {error}") from error
    return [_detections(name, rows)]


def y_down_to_y_up(keypoints: np.ndarray) -> np.ndarray:
    """(..., 3) camera coordinates with y downwards, rotated about z so that y is upwards, as in
    Kinect's."""
    return keypoints * np.array([-1, -1, 1])


def _add(rows: Rows, frame: int, values: np.ndarray, identity: int = -1) -> None:
    """Add a person (33, 3 or 4); a frame of zeros or NaN has no person."""
    if not 0 <= frame < 2**31:
        raise UserError(f"the frame's number must be from 0 to {2**31 - 1}; got {frame}.")
    rows.seen.append(frame)
    places = values[:, :3]
    if not np.isfinite(places).any() or not np.nan_to_num(places).any():
        return
    finite = places[np.isfinite(places)]
    if np.abs(finite).max() > 1e7:
        raise UserError("a coordinate is beyond 1e7.")
    scores = None
    if values.shape[1] == 4:
        scores = values[:, 3]
        if np.isfinite(scores).any() and (np.nanmin(scores) < -1e-6 or np.nanmax(scores) > 1.0001):
            scores = 1 / (1 + np.exp(-scores.clip(-50, 50)))  # MediaPipe's protobuf allows logits
        scores = scores.clip(1e-6, 1)  # keep landmarks with visibility 0, which are estimates too
    rows.add(frame, places, scores, identity)


def _detections(name: str, rows: Rows) -> Detections:
    return rows.detections(name, "mediapipe", upwards=y_down_to_y_up)


def _columns(header: Sequence[str]) -> dict[str, list[int]]:
    """The columns of x, y, z and v of the joints, in order.

    Raises:
        UserError: a joint lacks a column.
    """
    found: dict[str, dict[int, int]] = {axis: {} for axis in "xyzv"}
    for at, column in enumerate(header):
        if match := NUMBERED.fullmatch(column):
            found[match[1]][int(match[2])] = at
    first = min(found["x"])
    places = {}
    for axis, columns in found.items():
        if axis == "v" and not columns:
            continue
        places[axis] = [columns.get(first + joint, -1) for joint in range(NUM_JOINTS)]
        if min(places[axis]) < 0:
            raise UserError(f"the header lacks `{axis}{first + places[axis].index(-1)}`.")
    return places


def _row(cells: Sequence[str], places: dict[str, list[int]] | None) -> np.ndarray:
    """(33, 3 or 4) numbers of a row."""
    if places is None:
        lead = next((lead for lead in range(4) if len(cells) - lead in (99, 132)), None)
        if lead is None:
            raise UserError(f"it has {len(cells)} cells, not 99 or 132 numbers.")
        values = [number_of(cell) for cell in cells[lead:]]
        return np.array(values).reshape(NUM_JOINTS, -1)
    columns = [[number_of(cells[at]) for at in places[axis]] for axis in places]
    return np.array(columns).T


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _all_numbers(cells: Sequence[str]) -> bool:
    return all(not cell or _is_number(cell) for cell in cells) and any(cells)


def _frames(content: Any) -> list[Any]:
    """The list of frames in a JSON file's content; empty if it has no such list."""
    if isinstance(content, dict) and content and all(str(key).isdecimal() for key in content):
        return [
            frame | {"frame": int(key[:12])}
            if isinstance(frame, dict)
            else _numbered_frame(frame, key)
            for key, frame in content.items()
        ]
    if isinstance(content, dict):
        content = next((content[key] for key in FRAMES if isinstance(content.get(key), list)),
                       [content])  # fmt: skip
    return content if isinstance(content, list) else []


def _numbered_frame(frame: Any, key: str) -> dict[str, Any]:
    """A frame from a mapping of frame numbers to landmarks."""
    return {"frame": int(key[:12]), "landmarks": frame}


def _persons(frame: Any) -> list[list[Any]]:
    """The landmarks of each person in a frame."""
    if isinstance(frame, dict):
        frame = next((frame[key] for key in LISTS if frame.get(key)), None)
    if not isinstance(frame, list):
        return []
    if _is_pose(frame):
        return [frame]
    return [person for person in frame if isinstance(person, list) and _is_pose(person)]


def _is_pose(one: list[Any]) -> bool:
    if len(one) in (3 * NUM_JOINTS, 4 * NUM_JOINTS):
        return not isinstance(one[0], list | dict)
    if len(one) != NUM_JOINTS:
        return False
    first = one[0]
    known = isinstance(first, dict) and "x" in first and "y" in first
    return known or (isinstance(first, list) and len(first) in (3, 4)
                     and not isinstance(first[0], list | dict))  # fmt: skip


def _values(joints: list[Any]) -> np.ndarray:
    """(33, 3 or 4) numbers of a person's landmarks."""
    if isinstance(joints[0], dict):
        keys = ["x", "y", "z"] + ["visibility"] * ("visibility" in joints[0])
        if not all(isinstance(joint, dict) for joint in joints):
            raise UserError("every landmark must be an object with x, y and z.")
        joints = [[joint.get(key, 0.0 if key == "z" else None) for key in keys] for joint in joints]
    return numbers(joints, "landmarks").reshape(NUM_JOINTS, -1)
