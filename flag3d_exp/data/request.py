"""Parse and validate the recordings of an untrusted request, within limits on its size.

A request is a JSON object with one list of recordings, under one of MLflow's names: `inputs`,
`instances`, `dataframe_records`, or `dataframe_split` with `columns` and `data`. A recording has
`keypoints` (M, T0, V, C) as nested lists, and optionally `scores` (M, T0, V), `image_shape`
(height, width) and `name`. The field `window` (frames) requests a timeline; `hop`, `confidence`,
`min_length` and `count` are its settings, as in `task=predict`.
"""

import json
import reprlib
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.fields import as_spelled, named_fields
from flag3d_exp.data.timelines import Windows
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.names import name_fault

MAX_BYTES = 16 * 2**20
MAX_LISTS = 1_000_000  # mostly joints; a list takes far more memory and time than a number
MAX_RECORDINGS = 100
MAX_PERSONS = 32
MAX_FRAMES = 10_000
MAX_VALUE = 1e6  # of a coordinate or score; sums of squares of larger values may overflow float32
MAX_SIDE = 100_000  # of an image, in pixels
LISTS = ("inputs", "instances", "dataframe_records")
TABLE = "dataframe_split"
FIELDS = ("keypoints", "scores", "image_shape", "name")
WINDOW_FIELDS = ("window", "hop", "confidence", "min_length", "count")
AXES = ("persons", "frames", "joints", "coordinates")


def parse_request(content: bytes) -> list[Any]:
    """The list of recordings in a request's JSON text, not yet validated.

    Raises:
        UserError: the text is too long, is not JSON, or has no list of recordings.
    """
    check_size(len(content))
    if content.count(b"[") + content.count(b"{") > MAX_LISTS:
        raise UserError(f"a request may have {MAX_LISTS:,} lists (joints, mostly); this has more.")
    try:
        request = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise UserError("the request is not JSON: it is not in UTF-8.") from None
    except RecursionError:
        raise UserError("the request is nested too deeply.") from None
    except json.JSONDecodeError as error:
        place = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise UserError(f"the request is not JSON: {place}.") from None
    except ValueError:  # Python's limit: an integer of more than 4300 digits
        raise UserError("the request is not JSON: a number has too many digits.") from None
    if not isinstance(request, dict):
        raise UserError(f"the request must be a JSON object; got {_kind(request)}.")
    known = [*LISTS, TABLE]
    if len(request) != 1 or not request.keys() <= set(known):
        names = ", ".join(reprlib.repr(key) for key in list(request)[:4]) or "none"
        raise UserError(
            f"the request must name its recordings by exactly one of {', '.join(known)}; "
            f"got {names}."
        )
    ((form, rows),) = request.items()
    if form == TABLE:
        rows = _rows_of_table(rows)
    if not isinstance(rows, list):
        raise UserError(f"`{form}` must be a list of recordings; got {_kind(rows)}.")
    return rows


def check_size(num_bytes: int) -> None:
    """Refuse a request that is too long to be parsed.

    Raises:
        UserError: it is; the message names the limit.
    """
    if num_bytes > MAX_BYTES:
        raise UserError(f"a request may have {MAX_BYTES // 2**20} MiB; this one has more.")


def read_recordings(rows: Sequence[Any]) -> list[Recording]:
    """The recordings that a request's rows describe.

    Raises:
        UserError: there are no recordings or too many, or one is invalid.
    """
    if not rows:
        raise UserError("the request holds no recording.")
    if len(rows) > MAX_RECORDINGS:
        raise UserError(f"a request may hold {MAX_RECORDINGS} recordings; this has {len(rows)}.")
    return [read_recording(row, number) for number, row in enumerate(rows)]


def asked_windows(fields: Any, number: int) -> tuple[Any, Windows | None, bool]:
    """The fields of a recording, the settings of its timeline, and whether to count repetitions.

    The settings are None if the recording has no `window`, that is, requests no timeline.

    Args:
        number: of the recording in its request.

    Raises:
        UserError: a field of the timeline is invalid.
    """
    if not isinstance(fields, Mapping):
        return fields, None, False
    given = {key: fields[key] for key in WINDOW_FIELDS if not _absent(fields.get(key))}
    others = {key: value for key, value in fields.items() if key not in WINDOW_FIELDS}
    if not given:
        return others, None, False
    where = f"recording {number}:"
    if "window" not in given:
        raise UserError(f"{where} `{next(iter(given))}` is of a timeline, which `window` asks for.")
    count = given.pop("count", False)
    for key in ("window", "hop", "min_length"):
        value = given.get(key, 1)
        if isinstance(value, float) and value.is_integer():  # tables with gaps make floats
            given[key] = value = int(value)
        if type(value) is not int or not 1 <= value <= MAX_FRAMES:
            raise UserError(f"{where} `{key}` must be a whole number from 1 to {MAX_FRAMES}.")
    confidence = given.get("confidence", 0)
    if type(confidence) not in (int, float) or not 0 <= confidence <= 1:
        raise UserError(f"{where} `confidence` must be a number from 0 to 1.")
    if not isinstance(count, bool):
        raise UserError(f"{where} `count` must be true or false.")
    if given.get("hop", Windows.hop) > given["window"]:
        raise UserError(f"{where} `hop` must be at most `window`.")
    return others, Windows(**given), count


def read_recording(fields: Any, number: int) -> Recording:
    """The recording that fields describe; a field of None or NaN counts as absent.

    Args:
        number: of the recording in its request; it is the name of a recording without one.

    Raises:
        UserError: a field is invalid.
    """
    if not isinstance(fields, Mapping):
        raise UserError(f"recording {number} must be an object of fields; got {_kind(fields)}.")
    spelled = {key: value for key, value in fields.items() if not _absent(value)}
    given = named_fields(spelled)
    name = given.get("name", str(number))
    if fault := name_fault(name):
        raise UserError(f"recording {number}: `name` {fault}.")
    try:
        with as_spelled(spelled):
            return _read(given, name)
    except UserError as error:
        raise UserError(f"recording {reprlib.repr(name)}: {error}") from None


def request_fields(recording: Recording) -> dict[str, Any]:
    """The fields of a recording in a request, as JSON types."""
    fields = {"name": recording.name, "keypoints": recording.keypoints.tolist()}
    if recording.scores is not None:
        fields["scores"] = recording.scores.tolist()
    if recording.image_shape is not None:
        fields["image_shape"] = list(recording.image_shape)
    return fields


def _read(given: dict[Any, Any], name: str) -> Recording:
    for key in given:
        if key not in FIELDS:
            hint = nearest(str(key), FIELDS)
            raise UserError(
                f"{reprlib.repr(key)} is not a field.{hint} Fields: {', '.join(FIELDS)}."
            )
    if "keypoints" not in given:
        raise UserError("it has no `keypoints`.")
    keypoints = _numbers("keypoints", given["keypoints"], AXES, -MAX_VALUE)
    scores = None
    if "scores" in given:
        scores = _numbers("scores", given["scores"], AXES[:3], 0)
        if scores.shape != keypoints.shape[:3]:
            raise UserError(
                f"`scores` must have shape {keypoints.shape[:3]}, as `keypoints` say; got "
                f"{scores.shape}."
            )
    image_shape = _image_shape(given["image_shape"]) if "image_shape" in given else None
    return Recording(name, 0, keypoints, scores, image_shape)


def _numbers(key: str, value: Any, axes: Sequence[str], low: float) -> np.ndarray:
    """A float32 array from nested lists; sizes are checked axis by axis before conversion.

    Raises:
        UserError: the lists are empty, ragged or too long, or contain other values than numbers.
    """
    expected = f"`{key}` must be numbers in nested lists ({', '.join(axes)})"
    level = [value.tolist() if isinstance(value, np.ndarray) else value]
    shape = []
    for axis in axes:
        if not set(map(type, level)) <= {list, tuple}:
            raise UserError(f"{expected}.")
        sizes = set(map(len, level))
        if len(sizes) > 1:
            raise UserError(f"{expected} of equal length; the numbers of {axis} differ.")
        shape.append(sizes.pop())
        if shape[-1] == 0:
            raise UserError(f"{expected}; there are none of its {axis}.")
        limit = {"persons": MAX_PERSONS, "frames": MAX_FRAMES}.get(axis)
        if limit is not None and shape[-1] > limit:
            raise UserError(f"`{key}` may have {limit} {axis}; got {shape[-1]} {axis}.")
        level = list(chain.from_iterable(level))
    if not set(map(type, level)) <= {int, float}:
        raise UserError(f"{expected}.")
    try:
        array = np.array(level, np.float64).reshape(shape)
    except OverflowError:  # an integer of hundreds of digits
        array = np.array(np.inf)
    if not (np.isfinite(array).all() and array.min() >= low and array.max() <= MAX_VALUE):
        raise UserError(f"`{key}` must be finite and within {low:g} to {MAX_VALUE:g}.")
    return array.astype(np.float32)


def _image_shape(value: Any) -> tuple[int, int]:
    sides = value.tolist() if isinstance(value, np.ndarray) else value
    if (
        not isinstance(sides, list | tuple)
        or len(sides) != 2
        or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in sides)
    ):
        raise UserError(
            f"`image_shape` must be (height, width), whole numbers of pixels from 1 to {MAX_SIDE}."
        )
    return sides[0], sides[1]


def _rows_of_table(table: Any) -> list[dict[Any, Any]]:
    """The rows of a table in pandas' `split` format."""
    try:
        columns, rows = table["columns"], table["data"]
        return [dict(zip(columns, row, strict=True)) for row in rows]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"`{TABLE}` must be an object with `columns` and `data`, a list of rows of as many "
            "values as there are columns."
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise UserError(f"the request is not JSON: it holds {name}.")


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _kind(value: Any) -> str:
    """The JSON name of a value's type."""
    kinds = {bool: "a truth value", int: "a number", float: "a number", str: "a text"}
    kinds |= {list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), type(value).__name__)
