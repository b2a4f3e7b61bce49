"""Recordings to predict, from any file that can be made into a dataset; without labels.

A pickle holds annotations as in `annotations`, a list of them, or a single one. NPZ and JSON files
are as in `plain_files`, CSV files as in `csv_file`, YAML files as in `tables`, and `.skeleton`
files as in `ntu`.
"""

import os
import reprlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flag3d_exp.data.annotations import Recording, recordings_in
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.formats.csv_file import read_csv
from flag3d_exp.data.formats.ntu import read_skeleton
from flag3d_exp.data.formats.pickles import read_pickle
from flag3d_exp.data.formats.plain_files import read_json, read_npz
from flag3d_exp.data.formats.tables import table_annotations
from flag3d_exp.data.pipeline import Pipeline
from flag3d_exp.data.source import Dataset, check_fit, fault
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.faults import Faults
from flag3d_exp.skeletons.layout import Layout, load_layout

PICKLES = (".pkl", ".pickle")
TABLES = (".yaml", ".yml")  # not in a folder: their data would be read twice
SUFFIXES = (*PICKLES, ".npz", ".json", ".csv", ".skeleton")


def read_inputs(path: Path, layout: Layout, num_persons: int = 1) -> list[Recording]:
    """The recordings in a file or in the files of a folder, sorted by file; unknown labels are 0.

    Args:
        layout: of the joints that a CSV file names.
        num_persons: the most persons to keep of an NTU RGB+D skeleton file.

    Raises:
        UserError: there are none, some cannot be read, or two have the same name.
    """
    if os.path.isdir(path):
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not files:
            raise UserError(f"{path} holds no file ending in {', '.join(SUFFIXES)}.")
    elif os.path.isfile(path):
        files = [path]
        if path.suffix.lower() not in (*SUFFIXES, *TABLES):
            known = ", ".join((*SUFFIXES, *TABLES))
            raise UserError(f"{path.name} must be a folder or end in {known}.")
    else:
        raise UserError(f"{path} is not there.")
    faults, recordings = Faults("file"), []
    for file in files:
        with faults.of(""):
            recordings += _recordings(file, layout, num_persons, mapped=len(files) == 1)
    faults.refuse("")
    if not recordings:
        raise UserError(f"{path} holds no recording.")
    name, count = Counter(recording.name for recording in recordings).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} recordings are called {name!r}.")
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
    faults = Faults()
    for recording in recordings:
        if error := fault(recording, settings, layout, pipeline.needs_image):
            faults.add(reprlib.repr(recording.name), error)
    faults.refuse("")
    return ClipDataset(recordings, pipeline, stream, seed)


def _recordings(file: Path, layout: Layout, num_persons: int, mapped: bool) -> list[Recording]:
    suffix = file.suffix.lower()
    if suffix == ".skeleton":
        recording = read_skeleton(file, num_persons, labelled=False)
        if recording is None:
            raise UserError(f"{file}: nobody is seen in it.")
        return [recording]
    if suffix in PICKLES:
        annotations = read_pickle(file, mapped)
        if isinstance(annotations, dict):
            annotations = annotations.get("annotations", [annotations])
        if not isinstance(annotations, list | tuple):
            raise UserError(f"{file} must hold annotations; got {type(annotations).__name__}.")
    elif suffix == ".csv":
        annotations = read_csv(file, layout, labelled=False)
    elif suffix in TABLES:
        annotations = table_annotations(file, layout)
    else:
        annotations = read_npz(file) if suffix == ".npz" else read_json(file)
    unlabelled = [_without_label(annotation) for annotation in annotations]
    return list(recordings_in(file, unlabelled, shared=suffix in PICKLES))


def _without_label(annotation: Any) -> Any:
    return annotation | {"label": 0} if isinstance(annotation, dict) else annotation
