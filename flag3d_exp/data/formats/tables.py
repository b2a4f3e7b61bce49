"""Keypoints in a plain CSV or NPZ file, with a YAML file that says what they are.

The YAML file holds

    data: clips.csv                 # beside the YAML file; or clips.npz
    layout: coco                    # of the joints
    image_shape: [480, 854]         # height and width in pixels; 2D only
    labels: {clip1: 0, clip2: 1}    # NPZ; a CSV has a column
    splits: {train: [clip1], val: [clip2]}

CSV: a header, and a row for each joint in each frame with the columns recording, label, frame,
joint (its number or its name), x, y, and z in 3D; optional are person (from 0), score, subject. An
absent row is a joint that was not seen.

NPZ: for each recording an array of its name, (T, V, C) or (M, T, V, C), and, if there are scores,
one called `<name>.scores`, (T, V) or (M, T, V).
"""

import csv
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from flag3d_exp.data.annotations import Recording, recording_of
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.skeletons.layout import Layout, load_layout

KEYS = ("data", "layout", "splits", "image_shape", "labels")
MAX_EXPANSION = 200
MAX_VALUES = 500_000_000
Splits = dict[str, tuple[str, ...]]


def read_table(path: Path) -> tuple[Splits, list[Recording], str]:
    """Splits, recordings and the layout's name of the data that the YAML file describes.

    Raises:
        UserError: what is wrong, and where.
    """
    settings = _settings(path)
    data = path.parent / str(settings["data"])
    if not data.is_file():
        raise UserError(f"{path}: `data`: {data} is not there.")
    layout = load_layout(str(settings["layout"]))
    shape = settings.get("image_shape")
    if data.suffix.lower() == ".csv":
        annotations = _from_csv(data, layout)
    elif data.suffix.lower() == ".npz":
        annotations = _from_npz(data, settings.get("labels"), path)
    else:
        raise UserError(f"{path}: `data` must end in .csv or .npz; got {data.name}.")
    recordings = []
    for annotation in annotations:
        try:
            recordings.append(recording_of(annotation | {"img_shape": shape}))
        except UserError as error:
            raise UserError(f"{data}: recording {annotation['frame_dir']!r}: {error}") from error
        num_joints = recordings[-1].keypoints.shape[2]
        if num_joints != layout.num_joints:
            raise UserError(
                f"{data}: recording {annotation['frame_dir']!r}: it has {num_joints} joints, but "
                f"layout {layout.name} has {layout.num_joints}."
            )
    splits = {str(split): tuple(map(str, names)) for split, names in settings["splits"].items()}
    return splits, recordings, str(settings["layout"])


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UserError(f"`task.source`: {path}: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path} must be a mapping with {', '.join(KEYS[:3])}.")
    for key in settings:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key `{key}`.{nearest(str(key), KEYS)}")
    for key in KEYS[:3]:
        if key not in settings:
            raise UserError(f"{path} lacks `{key}`.")
    splits = settings["splits"]
    if not isinstance(splits, dict) or not all(
        isinstance(names, list) for names in splits.values()
    ):
        raise UserError(f"{path}: `splits` must map names to lists of recordings.")
    return settings


def _from_csv(path: Path, layout: Layout) -> list[dict[str, Any]]:
    """Annotations, as a pickle would hold them."""
    numbers = {name: number for number, name in enumerate(layout.joints)}
    numbers |= {str(number): number for number in range(layout.num_joints)}
    rows: dict[str, list[tuple]] = defaultdict(list)
    labels: dict[str, str] = {}
    subjects: dict[str, str | None] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            _check_columns(path, columns)
            axes = ("x", "y", "z") if "z" in columns else ("x", "y")
            for row in reader:
                name = row["recording"]
                if row["joint"] not in numbers:
                    hint = nearest(row["joint"] or "", numbers)
                    raise ValueError(f"{row['joint']!r} is no joint of {layout.name}.{hint}")
                if labels.setdefault(name, row["label"]) != row["label"]:
                    raise ValueError(f"{name!r} has another label than before")
                subjects[name] = row.get("subject") or None
                place = int(row.get("person") or 0), int(row["frame"]), numbers[row["joint"]]
                if min(place) < 0:
                    raise ValueError("a negative person or frame")
                score = float(row["score"]) if row.get("score") else 1.0
                rows[name].append((*place, *(float(row[axis]) for axis in axes), score))
            return [
                {
                    "frame_dir": name,
                    "label": int(labels[name]),
                    "subject": subjects[name],
                    **_arrays(np.array(members, np.float64), layout.num_joints),
                }
                for name, members in rows.items()
            ]
    except (ValueError, TypeError, csv.Error, OSError) as error:
        where = f", line {reader.line_num}" if "reader" in locals() else ""
        raise UserError(f"{path}{where}: {error}.") from error


def _arrays(rows: np.ndarray, num_joints: int) -> dict[str, np.ndarray]:
    """Keypoints and scores of one recording's rows: person, frame, joint, coordinates, score."""
    person, frame, joint = rows[:, :3].astype(int).T
    frame = frame - frame.min()
    shape = (person.max() + 1, frame.max() + 1, num_joints)
    num_coordinates = rows.shape[1] - 4
    if np.prod(shape, dtype=float) * num_coordinates > MAX_VALUES:
        raise ValueError(f"{shape[0]} persons in {shape[1]} frames are too many for these rows")
    keypoints = np.zeros((*shape, num_coordinates), np.float32)
    scores = np.zeros(shape, np.float32)
    keypoints[person, frame, joint] = rows[:, 3:-1]
    scores[person, frame, joint] = rows[:, -1]
    return {"keypoint": keypoints, "keypoint_score": scores}


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    for column in ("recording", "label", "frame", "joint", "x", "y"):
        if column not in columns:
            raise UserError(f"{path} lacks the column `{column}`; it has {', '.join(columns)}.")


def _from_npz(path: Path, labels: Any, settings: Path) -> list[dict[str, Any]]:
    if not isinstance(labels, Mapping):
        raise UserError(f"{settings}: `labels` must map each recording's name to its label.")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > max(MAX_EXPANSION * path.stat().st_size, 10**8):
            raise UserError(f"{path} would expand to {size / 1e9:.1f} GB; it was not unpacked.")
        with np.load(path, allow_pickle=False) as arrays:
            names = [name for name in arrays.files if not name.endswith(".scores")]
            annotations = []
            for name in names:
                if name not in labels:
                    raise UserError(f"{settings}: `labels` has none for {name!r}.")
                annotation = {"frame_dir": name, "label": labels[name]}
                annotation["keypoint"] = _with_person(arrays[name], 4)
                if f"{name}.scores" in arrays.files:
                    annotation["keypoint_score"] = _with_person(arrays[f"{name}.scores"], 3)
                annotations.append(annotation)
            return annotations
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, MemoryError) as error:
        raise UserError(f"{path} is no NPZ file of plain arrays: {error}.") from error


def _with_person(array: np.ndarray, num_axes: int) -> np.ndarray:
    return array[None] if array.ndim == num_axes - 1 else array
