"""Recordings to predict: from a pickle, an .npz or a folder of these, labels not needed.

A pickle holds annotations as in `annotations`, a list of them, or a single one. An .npz holds one
recording, named after the file: `keypoint` (M, T0, V, C) or (T0, V, C), and where they are known
`keypoint_score` (M, T0, V) or (T0, V) and `img_shape` (height, width).
"""

from collections import Counter
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from flag3d_exp.data.annotations import Recording, recording_of
from flag3d_exp.data.pickles import read_pickle
from flag3d_exp.errors import UserError

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


def _recordings(file: Path) -> list[Recording]:
    if file.suffix == ".npz":
        annotations: Any = [_annotation(file)]
    else:
        annotations = read_pickle(file)
        if isinstance(annotations, dict):
            annotations = annotations.get("annotations", [annotations])
    if not isinstance(annotations, list | tuple):
        raise UserError(f"{file} must hold annotations; got {type(annotations).__name__}.")
    found = []
    for number, annotation in enumerate(annotations):
        try:
            recording = recording_of(_without_label(annotation))
        except UserError as error:
            raise UserError(f"{file}: recording number {number}: {error}") from error
        if not recording.finite:
            raise UserError(f"{file}: recording {recording.name!r} holds NaN or infinite values.")
        found.append(recording)
    return found


def _without_label(annotation: Any) -> Any:
    return annotation | {"label": 0} if isinstance(annotation, dict) else annotation


def _annotation(file: Path) -> dict[str, Any]:
    try:
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            content = dict(arrays)
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise UserError(f"{file} is not an .npz of arrays: {error}.") from error
    if "keypoint" not in content:
        raise UserError(f"{file} has no array `keypoint`; it has {', '.join(content) or 'none'}.")
    for key, size in (("keypoint", 4), ("keypoint_score", 3)):
        if key in content and content[key].ndim == size - 1:
            content[key] = content[key][None]
    return content | {"frame_dir": file.stem}
