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
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.data.annotations import Recording, recording_of
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npz_arrays
from flag3d_exp.reading.text import file_text, parsed_yaml
from flag3d_exp.skeletons.layout import Layout, load_layout
from flag3d_exp.splits import check_split_names

KEYS = ("data", "layout", "splits", "image_shape", "labels")
MAX_PERSON, MAX_FRAME = 999, 2**31 - 1
# How many joints the arrays of a CSV may hold for each row: joints that were not seen have none.
# Small files may hold some more.
MAX_SPARSITY, FREE_VALUES = 200, 5_000_000
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
    splits = {split: tuple(map(str, names)) for split, names in settings["splits"].items()}
    return splits, recordings, str(settings["layout"])


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = parsed_yaml(file_text(path))
    except Malformed as error:
        raise UserError(f"`task.source`: {path}: {error}.") from error
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
    check_split_names(splits, f"{path}: `splits`")
    return settings


def _from_csv(path: Path, layout: Layout) -> list[dict[str, Any]]:
    """Annotations, as a pickle would hold them."""
    numbers = {name: number for number, name in enumerate(layout.joints)}
    numbers |= {str(number): number for number in range(layout.num_joints)}
    rows: dict[str, array[float]] = {}
    labels: dict[str, str] = {}
    subjects: dict[str, str | None] = {}
    num_rows = 0
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            _check_columns(path, columns)
            axes = ("x", "y", "z") if "z" in columns else ("x", "y")
            for num_rows, row in enumerate(reader, start=1):  # noqa: B007
                name = row["recording"]
                if row["joint"] not in numbers:
                    hint = nearest(row["joint"] or "", numbers)
                    raise ValueError(f"{row['joint']!r} is no joint of {layout.name}.{hint}")
                if labels.setdefault(name, row["label"]) != row["label"]:
                    raise ValueError(f"{name!r} has another label than before")
                subjects[name] = row.get("subject") or None
                person, frame = int(row.get("person") or 0), int(row["frame"])
                if not 0 <= person <= MAX_PERSON or not 0 <= frame <= MAX_FRAME:
                    raise ValueError(
                        f"`person` must be from 0 to {MAX_PERSON} and `frame` from 0 to "
                        f"{MAX_FRAME}; got {person} and {frame}"
                    )
                score = float(row["score"]) if row.get("score") else 1.0
                place = person, frame, numbers[row["joint"]]
                values = (*place, *(float(row[axis]) for axis in axes), score)
                rows.setdefault(name, array("d")).extend(values)
            width = 3 + len(axes) + 1
            left = FREE_VALUES + MAX_SPARSITY * num_rows
            annotations = []
            for name, members in rows.items():
                table = np.frombuffer(members).reshape(-1, width)
                arrays = _arrays(table, layout.num_joints, name, left)
                left -= arrays["keypoint_score"].size
                facts = {"frame_dir": name, "label": int(labels[name]), "subject": subjects[name]}
                annotations.append(facts | arrays)
            return annotations
    except (ValueError, TypeError, csv.Error, OSError) as error:
        where = f", line {reader.line_num}" if "reader" in locals() else ""
        raise UserError(f"{path}{where}: {error}.") from error


def _arrays(rows: np.ndarray, num_joints: int, name: str, left: int) -> dict[str, np.ndarray]:
    """Keypoints and scores of one recording's rows: person, frame, joint, coordinates, score.

    Args:
        left: how many joints in all persons and frames it may have.
    """
    person, frame, joint = rows[:, :3].astype(int).T
    frame = frame - frame.min()
    shape = (int(person.max()) + 1, int(frame.max()) + 1, num_joints)
    if shape[0] * shape[1] * shape[2] > left:
        raise ValueError(
            f"{shape[0]} persons in {shape[1]} frames of {name!r} are too many for its rows"
        )
    keypoints = np.zeros((*shape, rows.shape[1] - 4), np.float32)
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
        arrays = npz_arrays(path)
    except Malformed as error:
        raise UserError(f"{path} is no NPZ file of plain arrays: {error}.") from error
    annotations = []
    for name in arrays:
        if name.endswith(".scores"):
            continue
        if name not in labels:
            raise UserError(f"{settings}: `labels` has none for {name!r}.")
        annotation = {"frame_dir": name, "label": labels[name]}
        annotation["keypoint"] = _with_person(arrays[name], 4)
        if f"{name}.scores" in arrays:
            annotation["keypoint_score"] = _with_person(arrays[f"{name}.scores"], 3)
        annotations.append(annotation)
    return annotations


def _with_person(array: np.ndarray, num_axes: int) -> np.ndarray:
    return array[None] if array.ndim == num_axes - 1 else array
