"""Read recordings to predict, without labels, from files of any supported format.

Files of pose estimators are as in `formats.poses`. A pickle holds annotations as in `annotations`,
a list of them, or a single one. NPZ and JSON files are as in `plain_files`, CSV files as in
`csv_file`, YAML files as in `tables`, and `.skeleton` files as in `ntu`.
"""

import logging
import os
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flag3d_exp.data.annotations import Recording, recordings_in
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.formats.csv_file import read_csv
from flag3d_exp.data.formats.detections import Reading
from flag3d_exp.data.formats.ntu import read_skeleton
from flag3d_exp.data.formats.pickles import read_pickle
from flag3d_exp.data.formats.plain_files import read_json, read_npz
from flag3d_exp.data.formats.poses import SUFFIXES as POSES
from flag3d_exp.data.formats.poses import check_format, is_poses, read_poses
from flag3d_exp.data.formats.tables import table_annotations
from flag3d_exp.data.pipeline import Pipeline
from flag3d_exp.data.poses import visible
from flag3d_exp.data.source import Dataset, check_fit, fault
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.faults import Faults
from flag3d_exp.skeletons.layout import Layout, load_layout
from flag3d_exp.skeletons.mapping import joint_sources, relaid, without_source

log = logging.getLogger(__name__)
PICKLES = (".pkl", ".pickle")
TABLES = (".yaml", ".yml")  # not in a folder: their data would be read twice
SUFFIXES = (*PICKLES, ".npz", ".json", ".csv", ".skeleton")
FEW_FRAMES = 8  # fewer do not show a movement


def read_inputs(
    path: Path, layout: Layout, num_persons: int = 1, how: Reading | None = None
) -> list[Recording]:
    """The recordings in a file or in the files of a folder, sorted by file; unknown labels are 0.

    Args:
        layout: of the network's joints; recordings of another layout are mapped to it.
        num_persons: the maximum number of persons of an NTU RGB+D skeleton file.
        how: facts that the files do not state; None if there are none.

    Raises:
        UserError: there is no recording, some can't be read, or two have the same name.
    """
    return mapped_to(layout, *read_any(path, how or Reading(), layout, num_persons))


def read_any(
    path: Path, how: Reading, layout: Layout | None = None, num_persons: int = 1
) -> tuple[Layout, list[Recording]]:
    """The recordings of a file or folder and the layout of their joints.

    Args:
        layout: of files that do not state one, if `how` has none; None: `how` must have one.
        num_persons: as in `read_inputs`.

    Raises:
        UserError: as in `read_inputs`, or the layout is not known.
    """
    check_format(how.format)
    if how.format is not None or is_poses(path):
        found = read_poses(path, how)
        log.info("%s: read as %s, joints of %s", path, found.format, found.layout)
        for note in found.notes:
            log.info("%s: %s", path, note)
        recordings, source = found.recordings, load_layout(found.layout, "task.layout")
    else:
        source = layout if how.layout is None else load_layout(how.layout, "task.layout")
        if source is None:
            raise UserError(f"{path} does not say which joints it has; name them by `task.layout`.")
        recordings = _own_recordings(path, source, num_persons)
        if how.image_shape is not None:
            recordings = [replace(one, image_shape=how.image_shape) for one in recordings]
    name, count = Counter(recording.name for recording in recordings).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} recordings are called {name!r}.")
    return source, recordings


def brief(recordings: Sequence[Recording], score_threshold: float | None = None) -> str | None:
    """A warning about recordings in which persons are visible in few frames; None without any."""
    few = {}
    for one in recordings:
        frames = visible(one.keypoints, one.scores, score_threshold).any((0, 2)).sum()
        if frames < FEW_FRAMES:
            few[one.name] = int(frames)
    if not few:
        return None
    name, frames = next(iter(few.items()))
    return (
        f"{len(few)} of {len(recordings)} recordings show a person in fewer than {FEW_FRAMES} "
        f"frames, such as {name!r:.80} ({frames}): too few to show a movement."
    )


def mapped_to(target: Layout, source: Layout, recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings with the joints of layout `target`; joints that `source` lacks are missing.

    Raises:
        UserError: a recording's joints are not those of `source`, or the layouts share no joint.
    """
    if source.joints == target.joints:
        return list(recordings)
    sources = joint_sources(source, target)
    lacking = without_source(sources, target)
    if len(lacking) == target.num_joints:
        raise UserError(f"the layouts {source.name} and {target.name} have no joint in common.")
    faults, made = Faults(), []
    for one in recordings:
        if one.keypoints.shape[2] != source.num_joints:
            faults.add(
                reprlib.repr(one.name),
                f"it has {one.keypoints.shape[2]} joints, but layout {source.name} has "
                f"{source.num_joints}.",
            )
            continue
        keypoints, scores = relaid(one.keypoints, one.scores, sources)
        made.append(replace(one, keypoints=keypoints, scores=scores))
    faults.refuse("")
    said = f"; {len(lacking)} of these have no source: {', '.join(lacking[:8])}" if lacking else ""
    more = ", ..." if len(lacking) > 8 else ""
    log.info("joints of %s are mapped to those of %s%s%s", source.name, target.name, said, more)
    return made


def _own_recordings(path: Path, layout: Layout, num_persons: int) -> list[Recording]:
    if os.path.isdir(path):
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not files:
            raise UserError(f"{path} holds no file ending in {', '.join(SUFFIXES)}.")
    elif os.path.isfile(path):
        files = [path]
        if path.suffix.lower() not in (*SUFFIXES, *TABLES):
            known = ", ".join(dict.fromkeys((*SUFFIXES, *TABLES, *POSES)))
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
    return recordings


def input_clips(
    recordings: Sequence[Recording],
    settings: Dataset,
    pipeline: Pipeline,
    stream: Stream,
    seed: int = 0,
) -> ClipDataset:
    """The recordings' clips, as in an evaluation with these settings.

    Raises:
        UserError: layout or number of coordinates differ from the dataset's.
    """
    settings = replace(settings, recorded_layout=None)  # inputs are not projected by cameras
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
