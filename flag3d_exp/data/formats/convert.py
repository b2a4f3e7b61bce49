"""Other forms of skeleton data, made into annotation files."""

import os
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flag3d_exp import files
from flag3d_exp.data.annotations import Recording, read_annotations, recordings_in
from flag3d_exp.data.formats import ntu
from flag3d_exp.data.formats.pickles import read_pickle
from flag3d_exp.data.formats.tables import Splits, read_table
from flag3d_exp.errors import UserError


class Converted(NamedTuple):
    """What was read from files of another form.

    Args:
        layout: name or file of the recordings' layout.
        empty: names of recordings in which nobody is seen.
        classes: names of the classes, where they are known.
    """

    splits: Splits
    recordings: list[Recording]
    layout: str
    empty: list[str]
    classes: list[str] | None = None


def converted(
    source: Path, num_persons: int = 2, missing: frozenset[str] = frozenset()
) -> Converted:
    """What the source holds.

    Args:
        source: a folder of NTU RGB+D `.skeleton` files, or one of them; a PYSKL pickle of NTU
            RGB+D, whose splits are worked out anew; the YAML file of a table.
        num_persons: the most persons to keep of an NTU RGB+D skeleton file.
        missing: names to leave out.

    Raises:
        UserError: the source is not there, of another form, or what is wrong in it.
    """
    if not os.path.exists(source):
        raise UserError(f"`task.source`: {source} is not there.")
    suffix = source.suffix.lower()
    if suffix in (".yaml", ".yml"):
        splits, recordings, layout, classes = read_table(source)
        return Converted(splits, recordings, layout, [], classes)
    if os.path.isdir(source):
        found = list(ntu.read_folder(source, num_persons, missing))
    elif suffix == ".skeleton":
        found = [ntu.read_skeleton(source, num_persons) or source.stem]
    elif suffix in (".pkl", ".pickle"):
        found = [one for one in read_pyskl(source) if one.name not in missing]
    else:
        raise UserError(
            f"`task.source` must be a folder of .skeleton files, or end in .skeleton, .pkl or "
            f".yaml; got {source.name}."
        )
    recordings = [one for one in found if isinstance(one, Recording)]
    if not recordings:
        raise UserError(f"{source}: nobody is seen in any recording.")
    num_joints = recordings[0].keypoints.shape[2]
    layout = {17: "coco", ntu.NUM_JOINTS: "nturgb+d"}.get(num_joints)
    if layout is None:
        raise UserError(f"{source}: no layout of ours has {num_joints} joints.")
    empty = [one for one in found if isinstance(one, str)]
    return Converted(ntu.splits(one.name for one in recordings), recordings, layout, empty)


def read_pyskl(path: Path) -> list[Recording]:
    """The recordings of a PYSKL pickle, with splits or as a bare list."""
    content = read_pickle(path)
    annotations = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(annotations, list | tuple):
        raise UserError(f"{path} holds no list of annotations.")
    return list(recordings_in(path, annotations))


def write_annotations(path: Path, splits: Splits, recordings: Iterable[Recording]) -> None:
    """Write a PYSKL-style pickle, whole or not at all, and check that it can be read.

    Raises:
        UserError: the file can't be written, or what it holds does not fit together.
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
