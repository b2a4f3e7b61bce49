"""Convert skeleton data in other formats to annotation files."""

import os
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flag3d_exp import files
from flag3d_exp.data.annotations import Recording, read_annotations, recordings_in
from flag3d_exp.data.formats import ntu
from flag3d_exp.data.formats.detections import Reading
from flag3d_exp.data.formats.pickles import read_pickle
from flag3d_exp.data.formats.poses import SUFFIXES, check_format, is_poses, read_poses
from flag3d_exp.data.formats.tables import Splits, read_table
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

PICKLES = (".pkl", ".pickle")


class Converted(NamedTuple):
    """Recordings that were read from files of another format.

    Args:
        layout: name or file of the recordings' layout.
        empty: names of recordings in which nobody is seen.
        classes: names of the classes, if known.
        notes: decisions that were made while reading, as sentences.
    """

    splits: Splits
    recordings: list[Recording]
    layout: str
    empty: list[str]
    classes: list[str] | None = None
    notes: tuple[str, ...] = ()


def converted_recordings(
    source: Path,
    num_persons: int = 2,
    missing: frozenset[str] = frozenset(),
    how: Reading | None = None,
    key: str = "task.source",
) -> Converted:
    """The recordings of a source, in any supported format.

    Args:
        source: a `.skeleton` file of NTU RGB+D or a folder of them; a PYSKL pickle, which gets the
            splits of NTU RGB+D's protocols if its names are NTU RGB+D's; the YAML file of a table;
            or files of pose estimators, see `poses`.
        num_persons: the maximum number of persons of an NTU RGB+D file or of a video.
        missing: names of recordings to leave out.
        how: facts that the files do not state; None if there are none.
        key: the setting that names the source, for error messages.

    Raises:
        UserError: the source does not exist, is of an unknown format, or is invalid.
    """
    how = how or Reading(num_persons=num_persons)
    if not os.path.exists(source):
        raise UserError(f"`{key}`: {source} is not there.")
    check_format(how.format)
    suffix = source.suffix.lower()
    if suffix in (".yaml", ".yml"):
        splits, recordings, layout, classes = read_table(source)
        return Converted(splits, recordings, layout, [], classes)
    if how.format is not None or suffix in SUFFIXES or (os.path.isdir(source) and is_poses(source)):
        found = read_poses(source, how)
        splits = {"all": tuple(one.name for one in found.recordings)}
        said = (f"read as {found.format}, joints of {found.layout}", *found.notes)
        return Converted(splits, found.recordings, found.layout, [], notes=said)
    if os.path.isdir(source):
        bodies = list(ntu.read_folder(source, num_persons, missing))
        return _by_protocol(source, bodies, how.layout)
    if suffix == ".skeleton":
        bodies = [ntu.read_skeleton(source, num_persons) or source.stem]
        return _by_protocol(source, bodies, how.layout)
    if suffix in PICKLES:
        return _of_pickle(source, missing, how.layout)
    raise UserError(
        f"`{key}` must be a folder of .skeleton files or of poses, or end in .skeleton, "
        f".pkl, .yaml, .json, .csv, .npy or .bvh; got {source.name}."
    )


def _by_protocol(source: Path, found: Sequence[Recording | str], layout: str | None) -> Converted:
    """Recordings of NTU RGB+D with its splits; strings name recordings without a person."""
    recordings = [one for one in found if isinstance(one, Recording)]
    if not recordings:
        raise UserError(f"{source}: nobody is seen in any recording.")
    empty = [one for one in found if isinstance(one, str)]
    splits = ntu.splits(one.name for one in recordings)
    return Converted(splits, recordings, _layout(source, recordings[0], layout), empty)


def _of_pickle(source: Path, missing: frozenset[str], layout: str | None) -> Converted:
    """The recordings of a pickle; with NTU RGB+D's splits if all have names of NTU RGB+D."""
    recordings = [one for one in read_pyskl(source) if one.name not in missing]
    if not recordings or all(ntu.NAME.match(one.name) for one in recordings):
        return _by_protocol(source, recordings, layout)
    splits, _ = read_annotations(source)
    kept = {one.name for one in recordings}
    splits = {split: tuple(name for name in names if name in kept)
              for split, names in splits.items()}  # fmt: skip
    return Converted(splits, recordings, _layout(source, recordings[0], layout), [])


def _layout(source: Path, recording: Recording, named: str | None) -> str:
    """The layout of recordings of a file that does not name it."""
    num_joints, num_coordinates = recording.keypoints.shape[2:]
    if named is not None:
        if load_layout(named, "task.layout").num_joints != num_joints:
            raise UserError(f"{source} has {num_joints} joints, not those of layout {named}.")
        return named
    if num_joints == 17:
        return "coco"
    if num_joints == ntu.NUM_JOINTS and num_coordinates == 3:
        return "nturgb+d"
    raise UserError(
        f"{source}: the layout can't be inferred from {num_joints} joints; set `task.layout`."
    )


def read_pyskl(path: Path) -> list[Recording]:
    """The recordings of a PYSKL pickle, either with splits or as a plain list."""
    content = read_pickle(path)
    annotations = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(annotations, list | tuple):
        raise UserError(f"{path} holds no list of annotations.")
    return list(recordings_in(path, annotations))


def write_annotations(path: Path, splits: Splits, recordings: Iterable[Recording]) -> None:
    """Write a PYSKL-style pickle atomically and check that it can be read.

    Raises:
        UserError: the file can't be written, or splits and recordings are inconsistent.
    """
    annotations = []
    for recording in recordings:
        annotation = {
            "frame_dir": recording.name,
            "label": recording.label,
            "total_frames": recording.keypoints.shape[1],
            "keypoint": np.ascontiguousarray(recording.keypoints),
            "keypoint_score": recording.scores,
            "img_shape": recording.image_shape,
            "original_shape": recording.image_shape,
            "subject": recording.subject,
            "generated": True if recording.generated else None,
            "repetitions": recording.repetitions,
        }
        annotations.append({key: value for key, value in annotation.items() if value is not None})
    names = {split: list(members) for split, members in splits.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            pickle.dump({"split": names, "annotations": annotations}, file, protocol=4)
    except OSError as error:
        raise UserError(f"`task.output`: {path} can't be written: {error.strerror}.") from error
    read_annotations(path)
