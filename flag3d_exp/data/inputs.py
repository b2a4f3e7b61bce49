"""Recordings to predict: from a pickle, an .npz or a folder of these; without labels.

A pickle holds annotations as in `annotations`, a list of them, or a single one. An .npz holds one
recording, named after the file: `keypoint` (M, T0, V, C) or (T0, V, C), and where they are known
`keypoint_score` (M, T0, V) or (T0, V) and `img_shape` (height, width).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
