"""Recordings to predict: from a pickle, an .npz, a folder of these or a request; without labels.

A pickle holds annotations as in `annotations`, a list of them, or a single one. An .npz holds one
recording, named after the file: `keypoint` (M, T0, V, C) or (T0, V, C), and where they are known
`keypoint_score` (M, T0, V) or (T0, V) and `img_shape` (height, width). A request holds fields of
one recording each: `keypoints`, and where they are known `scores`, `image_shape` and `name`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.data.annotations import Recording, recordings_in
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.formats.pickles import read_pickle
from flag3d_exp.data.pipeline import Pipeline
from flag3d_exp.data.source import Dataset, check_fit, fault
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npz_arrays
from flag3d_exp.skeletons.layout import load_layout

SUFFIXES = (".pkl", ".pickle", ".npz")


def read_inputs(path: Path) -> list[Recording]:
    """The recordings in a file or in the files of a folder, sorted by file; unknown labels are 0.

    Raises:
        UserError: there are none, one cannot be read, or two have the same name.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if not files:
            raise UserError(f"`task.input`: {path} holds no file ending in {', '.join(SUFFIXES)}.")
    elif path.is_file():
        files = [path]
    else:
        raise UserError(f"`task.input`: {path} is not there.")
    recordings = [recording for file in files for recording in _recordings(file)]
    if not recordings:
        raise UserError(f"`task.input`: {path} holds no recording.")
    name, count = Counter(recording.name for recording in recordings).most_common(1)[0]
    if count > 1:
        raise UserError(f"`task.input`: {count} recordings are called {name!r}.")
    return recordings


def read_request(fields: Mapping[str, Any], number: int) -> Recording:
    """The recording that a request's fields describe; NaN stands for a field that is not given.

    Args:
        number: of the recording in its request: its name, if it has none.

    Raises:
        UserError: a field is not what it must be.
    """
    given = {key: value for key, value in fields.items() if not _absent(value)}
    name = str(given.get("name", number))
    if "keypoints" not in given:
        raise UserError(f"recording {name!r} has no `keypoints`.")
    keypoints = _numbers(name, "keypoints", given["keypoints"], 4)
    scores = None
    if "scores" in given:
        scores = _numbers(name, "scores", given["scores"], 3)
        if scores.shape != keypoints.shape[:3]:
            raise UserError(
                f"recording {name!r}: `scores` must have shape {keypoints.shape[:3]}, as "
                f"`keypoints` say; got {scores.shape}."
            )
    shape = None
    if "image_shape" in given:
        height, width = _numbers(name, "image_shape", given["image_shape"], 1, (2,))
        shape = (int(height), int(width))
        if min(shape) < 1:
            raise UserError(f"recording {name!r}: `image_shape` must be pixels; got {shape}.")
    finite = np.isfinite(keypoints).all() and (scores is None or np.isfinite(scores).all())
    return Recording(name, 0, keypoints, scores, shape, finite=bool(finite))


def request_fields(recording: Recording) -> dict[str, Any]:
    """The fields of a request for a recording, as JSON knows them."""
    fields = {"name": recording.name, "keypoints": recording.keypoints.tolist()}
    if recording.scores is not None:
        fields["scores"] = recording.scores.tolist()
    if recording.image_shape is not None:
        fields["image_shape"] = list(recording.image_shape)
    return fields


def input_clips(
    recordings: Sequence[Recording],
    settings: Dataset,
    pipeline: Pipeline,
    stream: Stream,
    seed: int = 0,
) -> ClipDataset:
    """The recordings as the clips that an evaluation with these settings would make of them.

    Raises:
        UserError: they are not of the dataset's layout and coordinates.
    """
    layout = load_layout(settings.layout)
    check_fit(settings, layout, pipeline)
    for recording in recordings:
        if error := fault(recording, settings, layout, pipeline.needs_image):
            raise UserError(f"recording {recording.name!r}: {error}")
    return ClipDataset(recordings, pipeline, stream, seed)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _numbers(
    name: str, key: str, value: Any, num_axes: int, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """An array of `num_axes` axes, none of them empty, from nested lists."""
    what = {4: "(persons, frames, joints, coordinates)", 3: "(persons, frames, joints)"}
    try:
        array = np.array(value, np.float32)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != num_axes or array.size == 0 or (shape and array.shape != shape):
        expected = what.get(num_axes, "(height, width)")
        raise UserError(f"recording {name!r}: `{key}` must be numbers, {expected}.")
    return array


def _recordings(file: Path) -> list[Recording]:
    if file.suffix == ".npz":
        annotations: Any = [_annotation(file)]
    else:
        annotations = read_pickle(file)
        if isinstance(annotations, dict):
            annotations = annotations.get("annotations", [annotations])
    if not isinstance(annotations, list | tuple):
        raise UserError(f"{file} must hold annotations; got {type(annotations).__name__}.")
    found = list(recordings_in(file, [_without_label(one) for one in annotations]))
    for recording in found:
        if not recording.finite:
            raise UserError(f"{file}: recording {recording.name!r} holds NaN or infinite values.")
    return found


def _without_label(annotation: Any) -> Any:
    return annotation | {"label": 0} if isinstance(annotation, dict) else annotation


def _annotation(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = dict(npz_arrays(file))
    except Malformed as error:
        raise UserError(f"{file} is not an .npz of arrays: {error}.") from error
    if "keypoint" not in content:
        raise UserError(f"{file} has no array `keypoint`; it has {', '.join(content) or 'none'}.")
    for key, size in (("keypoint", 4), ("keypoint_score", 3)):
        if key in content and content[key].ndim == size - 1:
            content[key] = content[key][None]
    return content | {"frame_dir": file.stem}
