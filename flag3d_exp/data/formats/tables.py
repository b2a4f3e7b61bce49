"""Recordings in CSV, NPZ or JSON files, with a YAML file that describes them.

The YAML file holds

    data: clips.csv                 # relative path; or .npz, .json, a folder, pose files
    format: mmpose                  # of a pose estimator's files, if it is not recognised
    layout: coco                    # of the joints
    image_shape: [480, 854]         # height and width in pixels; 2D only
    classes: [squat, lunge]         # optional: the order of the labels; default: alphabetical
    labels: {clip1: 0, clip2: 1}    # if the files have none: numbers or names of classes
    splits: {train: [clip1], val: [clip2]}  # if the recordings have no `split` in the files

The data files are described in `csv_file`, `plain_files` and `poses`.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flag3d_exp.data.annotations import Recording, recordings_in
from flag3d_exp.data.fields import named_fields
from flag3d_exp.data.formats.csv_file import read_csv
from flag3d_exp.data.formats.detections import Reading
from flag3d_exp.data.formats.plain_files import read_json, read_npz
from flag3d_exp.data.formats.poses import is_poses, read_poses
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.faults import Faults
from flag3d_exp.names import check_class_names
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_text, parsed_yaml
from flag3d_exp.skeletons.layout import Layout, load_layout
from flag3d_exp.splits import check_split_names

log = logging.getLogger(__name__)
KEYS = ("data", "format", "layout", "splits", "image_shape", "labels", "classes")
DATA = (".csv", ".npz", ".json")
Splits = dict[str, tuple[str, ...]]


def read_table(path: Path) -> tuple[Splits, list[Recording], str, list[str] | None]:
    """Splits, recordings, the layout's name and the classes of the data that a YAML file describes.

    The classes are None if labels are numbers without names.

    Raises:
        UserError: the YAML file or its data are invalid.
    """
    settings = _settings(path, ("data", "layout"))
    layout = load_layout(str(settings["layout"]))
    annotations = _annotations(path, settings, layout, labelled=True)
    faults = Faults()
    for annotation in annotations:
        num_joints = annotation["keypoints"].shape[-2]
        if num_joints != layout.num_joints:
            reason = f"it has {num_joints} joints, but layout {layout.name} has "
            faults.add(repr(annotation["name"]), f"{reason}{layout.num_joints}.")
    faults.refuse(str(_data(path, settings)))
    classes = _number_classes(path, annotations, settings.get("classes"))
    recordings = list(recordings_in(_data(path, settings), annotations, shared=False))
    return _splits(path, settings, annotations), recordings, str(settings["layout"]), classes


def table_annotations(path: Path, layout: Layout) -> list[dict[str, Any]]:
    """Annotations, without labels, of the data that the YAML file describes.

    Args:
        layout: the layout that the data must have.

    Raises:
        UserError: the YAML file or its data are invalid.
    """
    settings = _settings(path, ("data",))
    own = load_layout(str(settings["layout"])) if "layout" in settings else layout
    if own.joints != layout.joints:
        raise UserError(f"{path}: `layout` is {own.name}, but the network's is {layout.name}.")
    return _annotations(path, settings, layout, labelled=False)


def _splits(
    path: Path, settings: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]
) -> Splits:
    """The splits in the YAML file, or else in the recordings."""
    if "splits" in settings:
        return {split: tuple(map(str, names)) for split, names in settings["splits"].items()}
    found: dict[str, list[str]] = {}
    for annotation in annotations:
        if (split := annotation.get("split")) is not None:
            found.setdefault(split, []).append(annotation["name"])
    if not found:
        raise UserError(f"{path} lacks `splits`, and no recording has a `split`.")
    check_split_names(found, f"{path}: `split`")
    return {split: tuple(names) for split, names in found.items()}


def _number_classes(
    path: Path, annotations: Sequence[dict[str, Any]], classes: Any
) -> list[str] | None:
    """Replace class names by numbers in the annotations; return the classes in label order."""
    named_so = {one["label"] for one in annotations if isinstance(one.get("label"), str)}
    if classes is None and not named_so:
        return None
    if classes is not None and not isinstance(classes, list):
        raise UserError(f"{path}: `classes` must be a list of names.")
    names = sorted(named_so) if classes is None else [str(name) for name in classes]
    check_class_names(names, f"{path}: `classes`")
    numbers, faults = {name: label for label, name in enumerate(names)}, Faults()
    for annotation in annotations:
        label = annotation["label"]
        if isinstance(label, str) and label in numbers:
            annotation["label"] = numbers[label]
        elif isinstance(label, str):
            faults.add(repr(annotation["name"]), f"`classes` lacks {label!r}.")
        elif named_so:
            faults.add(repr(annotation["name"]), "its label is a number; other labels are names.")
        elif isinstance(label, int) and label >= len(names):
            faults.add(repr(annotation["name"]), f"`classes` has no name for label {label}.")
    faults.refuse(str(path))
    return names


def _settings(path: Path, required: tuple[str, ...]) -> dict[str, Any]:
    try:
        settings = parsed_yaml(file_text(path))
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path} must be a mapping with {', '.join(required)}.")
    settings = named_fields(settings)
    for key in settings:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key `{key}`.{nearest(str(key), KEYS)}")
    for key in required:
        if key not in settings:
            raise UserError(f"{path} lacks `{key}`.")
    splits = settings.get("splits", {})
    if not isinstance(splits, dict) or not all(
        isinstance(names, list) for names in splits.values()
    ):
        raise UserError(f"{path}: `splits` must map names to lists of recordings.")
    check_split_names(splits, f"{path}: `splits`")
    if not isinstance(settings.get("labels", {}), Mapping):
        raise UserError(f"{path}: `labels` must map each recording's name to its label.")
    return settings


def _data(path: Path, settings: Mapping[str, Any]) -> Path:
    return path.parent / str(settings["data"])


def _annotations(
    path: Path, settings: Mapping[str, Any], layout: Layout, labelled: bool
) -> list[dict[str, Any]]:
    """Annotations, as in a pickle, completed with the facts in the YAML file."""
    data, labels = _data(path, settings), settings.get("labels", {})
    if not os.path.exists(data):
        raise UserError(f"{path}: `data`: {data} is not there.")
    shared = {"image_shape": settings["image_shape"]} if "image_shape" in settings else {}
    if "format" in settings or is_poses(data):
        found = _poses(path, data, settings)
    else:
        found = _plain(path, data, layout, labelled and not labels)
    unlabelled = Faults()
    for annotation in found:
        name = annotation["name"]
        if name in labels:
            annotation["label"] = labels[name]
        elif labelled and annotation.get("label") is None:
            unlabelled.add(repr(name), "it has no label, neither of its own nor in `labels`.")
    unlabelled.refuse(str(path))
    return [shared | annotation for annotation in found]


def _plain(path: Path, data: Path, layout: Layout, labelled: bool) -> list[dict[str, Any]]:
    """Annotations of CSV, NPZ and JSON files."""
    files = [data]
    if os.path.isdir(data):
        files = sorted(file for file in data.iterdir() if file.suffix.lower() in DATA)
    if not files or any(file.suffix.lower() not in DATA for file in files):
        kinds = ", ".join(DATA)
        raise UserError(f"{path}: `data` must end in {kinds} or hold such files; got {data.name}.")
    faults, found = Faults("file"), []
    for file in files:
        with faults.of(""):
            if file.suffix.lower() == ".csv":
                found += read_csv(file, layout, labelled)
            else:
                found += read_npz(file) if file.suffix.lower() == ".npz" else read_json(file)
    faults.refuse("")
    return found


def _poses(path: Path, data: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Annotations of a pose estimator's files."""
    form, shape = settings.get("format"), settings.get("image_shape")
    if form is not None and not isinstance(form, str):
        raise UserError(f"{path}: `format` must be the name of a format; got {form!r:.60}.")
    sides = shape if isinstance(shape, list) else []
    whole = len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)
    layout = str(settings["layout"]) if "layout" in settings else None
    how = Reading(form, layout, image_shape=(sides[0], sides[1]) if whole else None)
    read = read_poses(data, how)
    log.info("%s: read as %s, joints of %s", data, read.format, read.layout)
    for note in read.notes:
        log.info("%s: %s", data, note)
    return [
        {"name": one.name, "keypoints": one.keypoints}
        | ({} if one.scores is None else {"scores": one.scores})
        | ({} if one.image_shape is None else {"image_shape": one.image_shape})
        for one in read.recordings
    ]
