"""NPZ and JSON files of recordings: plain arrays and lists with the names of `data.fields`.

An NPZ file of one recording holds `keypoints` (M, T, V, C) or (T, V, C), and optionally `scores`
(M, T, V) or (T, V), `image_shape`, `label`, `split` and `name`. An NPZ file of several recordings
holds an array for each under its name, and its scores under `<name>.scores`.

A JSON file holds a recording as an object with the same fields, with arrays as nested lists, or a
list of such objects, alone or as `inputs` of a request. A recording without a name gets the file's.

Sizes: M persons, T frames, V joints, C coordinates.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.data.fields import as_spelled, named_fields
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npz_arrays
from flag3d_exp.reading.text import file_bytes, parsed_json

NUM_AXES = {"keypoints": 4, "scores": 3}
MAX_JSON = 256 << 20  # bytes
LISTS = ("inputs", "annotations")


def read_npz(path: Path) -> list[dict[str, Any]]:
    """Annotations of an NPZ file, as in a pickle.

    Raises:
        UserError: the file is not an NPZ file of plain arrays, or has no recording.
    """
    try:
        arrays = npz_arrays(path)
    except Malformed as error:
        raise UserError(f"{path} is not an NPZ file of plain arrays: {error}.") from error
    if not arrays:
        raise UserError(f"{path} holds no array.")
    fields = named_fields(arrays)
    if "keypoints" in fields:
        single = {key: _value(array) for key, array in fields.items()}
        return [_with_persons({"name": path.stem} | single)]
    names = [name for name in arrays if not name.endswith(".scores")]
    scores = {name: arrays.get(f"{name}.scores") for name in names}
    for name in names:
        if arrays[name].ndim not in (3, 4):
            raise UserError(
                f"{path}: `{name}` must be the keypoints of a recording, (frames, joints, "
                f"coordinates); got shape {arrays[name].shape}. A file of one recording has them "
                "as `keypoints`."
            )
    return [
        _with_persons({"name": name, "keypoints": arrays[name], "scores": scores[name]})
        for name in names
    ]


def read_json(path: Path) -> list[dict[str, Any]]:
    """Annotations of a JSON file, as in a pickle.

    Raises:
        UserError: the file is not a JSON file of recordings.
    """
    try:
        content = parsed_json(file_bytes(path, MAX_JSON))
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error
    rows = content
    if isinstance(content, dict):
        rows = next((content[key] for key in LISTS if key in content), [content])
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} must hold a recording, an object with `keypoints`, or a list.")
    names = [path.stem] if len(rows) == 1 else [f"{path.stem}-{n}" for n in range(len(rows))]
    annotations = []
    for name, row in zip(names, rows, strict=True):
        try:
            with as_spelled(row):
                annotations.append(_with_persons({"name": name} | _arrays(named_fields(row))))
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    return annotations


def _value(array: np.ndarray) -> Any:
    """The text or number of a 0-dimensional array of an NPZ file; any other array unchanged."""
    return array if array.ndim else array.item()


def _arrays(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with nested lists converted to arrays."""
    found = dict(fields)
    for key in NUM_AXES:
        if key in found:
            try:
                array = np.array(found[key])
            except (ValueError, OverflowError):
                array = np.empty(0, object)
            if array.dtype.kind not in "iuf":
                raise UserError(f"`{key}` must be numbers in nested lists of equal lengths.")
            found[key] = array
    return found


def _with_persons(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, with an axis of persons added to arrays that lack it."""
    found = dict(fields)
    for key, num_axes in NUM_AXES.items():
        array = found.get(key)
        if isinstance(array, np.ndarray) and array.ndim == num_axes - 1:
            found[key] = array[None]
    return found
