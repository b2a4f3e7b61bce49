"""Read recordings from files of pose estimators and motion capture, and detect their format.

A path is a file, a folder of frames (OpenPose), a folder with a file per video, or a folder of such
folders. Facts that the files do not state are inferred from their numbers and reported in
`Poses.notes`; if that is impossible, an error names the setting to give.

Sizes: M persons, T frames, V joints, D coordinates.
"""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.formats import alphapose, azure, bvh, mediapipe, mmpose, named_joints, openpose
from flag3d_exp.data.formats.detections import Detections, Reading
from flag3d_exp.data.formats.tracking import arrays, lasting, tracked_identities
from flag3d_exp.data.formats.units import in_known_unit
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.faults import Faults
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_bytes, file_text, parsed_json
from flag3d_exp.skeletons.layout import load_layout

FORMATS = ("openpose", "alphapose", "mmpose", "mediapipe", "named_joints", "azure_kinect", "bvh")
SUFFIXES = (".json", ".csv", ".npy", ".bvh")
MAX_JSON, MAX_TEXT, MAX_FRAME_FILE = 256 << 20, 128 << 20, 16 << 20  # bytes
MAX_FILES = 300_000
FRAME = re.compile(r"^(.*?)[._-]?(\d{1,12})(_keypoints)?$", re.DOTALL)
WITH_HALPE26 = (68, 136)  # numbers of joints of Halpe; the first 26 are body and feet
UNNAMED = ("", "frame", "frames", "img", "image", "keypoints", "pose")
GENERIC = ("alphapose-results", "results", "keypoints", "predictions", "coords")


@dataclass(frozen=True)
class Poses:
    """Recordings of one layout, and the decisions that were made while reading them.

    Args:
        layout: of the joints: a name, or the path of a YAML file.
        notes: the decisions as sentences, each listed once.
    """

    recordings: list[Recording]
    layout: str
    format: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """The files of one video."""

    name: str
    format: str
    files: Sequence[tuple[int, Path]]  # (number of the frame, file); (0, file) for a single file


def read_poses(path: Path, how: Reading) -> Poses:
    """The recordings of a file or folder.

    Raises:
        UserError: the format is unknown, a file is damaged, or a setting is needed.
    """
    check_format(how.format)
    sources = _sources(path, how.format)
    if not sources:
        if path.suffix.lower() == ".json" and os.path.isfile(path):
            _content(path, MAX_JSON)  # raises if the file is damaged
        raise UserError(
            f"{path} holds no poses of a known format; `task.format` may name one of "
            f"{', '.join(FORMATS)}."
        )
    faults, found, notes = Faults("file"), [], {}
    layouts: dict[str, str] = {}
    for source in sources:
        with faults.of(""):
            for detections in _detections(source, how):
                recording, layout, said = recording_of(detections, how)
                found.append(recording)
                layouts.setdefault(layout, recording.name)
                for note in said:
                    notes.setdefault(note, []).append(recording.name)
    faults.refuse("")
    if not found:
        raise UserError(f"{path}: nobody is seen in it.")
    if len(layouts) > 1:
        pairs = ", ".join(f"{layout} ({name})" for layout, name in layouts.items())
        raise UserError(f"{path} holds recordings of several layouts: {pairs}.")
    said = tuple(
        note if len(names) == len(found) else f"{note} ({_listed_names(names)})"
        for note, names in notes.items()
    )
    return Poses(found, next(iter(layouts)), sources[0].format, said)


def is_poses(path: Path) -> bool:
    """Whether a file, or the content of a folder, has a format of this module."""
    try:
        return bool(_sources(path, None))
    except UserError:
        return False


def recording_of(found: Detections, how: Reading) -> tuple[Recording, str, tuple[str, ...]]:
    """Detections as a recording; its layout, and the decisions that were made, as sentences.

    Raises:
        UserError: the layout or the unit is ambiguous, or there are too many persons.
    """
    if found.layout is None and how.layout is None and found.keypoints.shape[1] in WITH_HALPE26:
        found = replace(
            found,
            layout="halpe26",
            keypoints=found.keypoints[:, :26],
            scores=None if found.scores is None else found.scores[:, :26],
            notes=(*found.notes, "Halpe's joints of face and hands are left out"),
        )
    num_joints = found.keypoints.shape[1]
    name = how.layout or found.layout
    if name is None:
        hint = ", `task.layout=body25` or body25b" if num_joints == 25 else ""
        raise UserError(
            f"{found.name!r}: the layout can't be inferred from {num_joints} joints; set "
            f"`task.layout`{hint}."
        )
    layout = load_layout(name, "task.layout")
    if layout.num_joints != num_joints:
        raise UserError(
            f"{found.name!r} has {num_joints} joints, but `task.layout={name}` has "
            f"{layout.num_joints}."
        )
    known = in_known_unit(replace(found, layout=name), how)
    notes = list(known.notes)
    seen = known.keypoints.any(-1)
    identities, frames = known.identities, known.frames
    if identities is not None and _has_repeated(frames, identities):
        notes.append("the file's identities are not used, because two persons of a frame share one")
        identities = None
    if identities is None and len(np.unique(frames)) < len(frames):
        identities = tracked_identities(frames, known.keypoints, seen)
        notes.append("persons are tracked by the overlap of their boxes")
    if identities is None:
        identities = np.zeros(len(frames), np.int64)
    identities = np.where(seen.any(1), identities, -1)
    span = known.span or (int(frames.min()), int(frames.max()))
    if not (identities >= 0).any():
        raise UserError(f"{found.name!r}: nobody is seen in it.")
    num_frames = len(np.unique(frames))
    persons = lasting(identities, num_frames, how.num_persons)
    left_out = len(np.unique(identities[identities >= 0])) - len(persons)
    if left_out:
        several = "persons who are" if left_out > 1 else "person who is"
        notes.append(f"left out: {left_out} {several} seen only briefly")
    keypoints = arrays(frames, identities, persons, span, known.keypoints)
    scores = None
    if known.scores is not None:
        scores = arrays(frames, identities, persons, span, known.scores)
    recording = Recording(found.name, 0, keypoints, scores, known.image_shape)
    return recording, name, tuple(notes)


def check_format(name: str | None) -> None:
    """Refuse an unknown format name."""
    if name is not None and name not in FORMATS:
        known = ", ".join(FORMATS)
        raise UserError(
            f"`task.format` must be one of {known}; got {name!r}.{nearest(name, FORMATS)}"
        )


def _sources(path: Path, named: str | None) -> list[_Source]:
    """The videos at a path; empty if no file has a known format."""
    if os.path.isfile(path):
        form = named or _recognise(path)
        return [_Source(_name(path), form, [(0, path)])] if form else []
    if not os.path.isdir(path):
        raise UserError(f"{path} is not there.")
    entries = sorted(path.iterdir())[: MAX_FILES + 1]
    if len(entries) > MAX_FILES:
        raise UserError(f"{path} holds more than {MAX_FILES:,} files.")
    files = [one for one in entries if one.suffix.lower() in SUFFIXES and one.is_file()]
    if not files:
        folders = [one for one in entries if one.is_dir()]
        return [source for folder in folders for source in _videos(folder, named)]
    return _videos(path, named)


def _videos(folder: Path, named: str | None) -> list[_Source]:
    """The videos of the files in a folder."""
    files = sorted(one for one in folder.iterdir()
                   if one.suffix.lower() in SUFFIXES and one.is_file())  # fmt: skip
    if not files:
        return []
    form = named or _recognise(files[0])
    if form is None:
        return []
    first = _content(files[0], MAX_JSON) if files[0].suffix.lower() == ".json" else None
    if form != "openpose" or openpose.is_kinetics(first) or isinstance(first, list):
        return [_Source(_name(one), named or _recognise(one) or form, [(0, one)])
                for one in files]  # fmt: skip
    videos: dict[str, list[tuple[int, Path]]] = {}
    for one in files:
        match = FRAME.match(one.stem)
        video, number = (match[1], int(match[2])) if match else (one.stem, 0)
        name = folder.resolve().name if video.strip("_-. ").lower() in UNNAMED else video
        videos.setdefault(name, []).append((number, one))
    for name, members in videos.items():
        members.sort()
        counts = [number for number, _ in members]
        if len(set(counts)) < len(counts):
            raise UserError(f"{folder}: two files are the same frame of {name!r}.")
    return [_Source(name.strip("_-. "), form, members) for name, members in videos.items()]


def _recognise(path: Path) -> str | None:
    """The format of a file; None if it is unknown or the file is damaged."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".bvh"):
        return {".npy": "mediapipe", ".bvh": "bvh"}[suffix]
    if suffix == ".csv":
        return _recognised_table(path)
    if suffix != ".json":
        return None
    try:
        content = _content(path, MAX_JSON)
    except UserError:
        return None
    tests = {
        "openpose": (openpose.is_frame, openpose.is_kinetics, _is_list_of_frames),
        "alphapose": (alphapose.is_results, alphapose.is_by_image),
        "azure_kinect": (azure.is_recording,),
        "mmpose": (mmpose.is_predictions,),
        "mediapipe": (mediapipe.is_landmarks,),
        "named_joints": (named_joints.is_by_name,),
    }
    return next((name for name, known in tests.items() if any(test(content) for test in known)),
                None)  # fmt: skip


def _recognised_table(path: Path) -> str | None:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            columns = next(csv.reader(iter([file.readline(1 << 16)])), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    if mediapipe.is_wide(columns) or mediapipe.is_headless(columns):
        return "mediapipe"
    tests = (named_joints.is_long, named_joints.is_wide, named_joints.is_deeplabcut)
    return "named_joints" if any(test(columns) for test in tests) else None


def _detections(source: _Source, how: Reading) -> list[Detections]:
    """The detections in the files of a source."""
    path = source.files[0][1]
    name = source.name
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path.name} must end in {', '.join(SUFFIXES)}.")
    if source.format == "bvh" or suffix == ".bvh":
        return [bvh.read_bvh(name, _text(path), how)]
    if suffix == ".npy":
        return mediapipe.read_array(name, path, how.layout)
    if suffix == ".csv":
        return _from_table(name, path, source.format, how)
    if len(source.files) > 1 or source.format == "openpose":
        contents = [(number, _content(file, MAX_FRAME_FILE if len(source.files) > 1 else MAX_JSON))
                    for number, file in source.files]  # fmt: skip
        content = contents[0][1]
        if len(contents) == 1 and openpose.is_kinetics(content):
            return [openpose.read_kinetics(name, content)]
        if len(contents) == 1 and isinstance(content, list):
            contents = list(enumerate(content))
        return [openpose.read_frames(name, contents)]
    return _from_json(name, _content(path, MAX_JSON), source.format, how)


def _from_json(name: str, content: Any, form: str, how: Reading) -> list[Detections]:
    if form == "alphapose" and alphapose.is_results(content):
        return alphapose.read_results(name, content)
    if form == "alphapose" and alphapose.is_by_image(content):
        return alphapose.read_by_image(name, content)
    if form == "mmpose" and mmpose.is_predictions(content):
        return [mmpose.read_predictions(name, content)]
    if form == "azure_kinect" and azure.is_recording(content):
        return [azure.read_recording(name, content)]
    if form == "mediapipe" and mediapipe.is_landmarks(content):
        return mediapipe.read_json(name, content)
    if form == "named_joints" and named_joints.is_by_name(content):
        return named_joints.read_json(name, content, how.layout)
    raise UserError(f"{name!r} is not a file of {form}.")


def _from_table(name: str, path: Path, form: str, how: Reading) -> list[Detections]:
    text = _text(path)
    try:
        columns = next(csv.reader(text.splitlines()[:1]), [])
        if not any(columns):
            raise UserError(f"{path}: its first row is empty.")
        if mediapipe.is_wide(columns) or mediapipe.is_headless(columns):
            return mediapipe.read_csv(name, text)
        tests = (named_joints.is_long, named_joints.is_wide, named_joints.is_deeplabcut)
        if any(test(columns) for test in tests):
            return named_joints.read_csv(name, text, how.layout)
    except csv.Error as error:
        raise UserError(f"{path}: {error}.") from error
    raise UserError(f"{name!r} is not a table of {form}.")


def _is_list_of_frames(content: Any) -> bool:
    return isinstance(content, list) and bool(content) and openpose.is_frame(content[0])


def _content(path: Path, limit: int) -> Any:
    try:
        return parsed_json(file_bytes(path, limit))
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error


def _text(path: Path) -> str:
    try:
        return file_text(path, MAX_TEXT)
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error


def _name(path: Path) -> str:
    """A video's name: that of its file, or of its folder if the file's name is generic."""
    stem = path.stem.removeprefix("results_") if path.stem.lower() not in GENERIC else path.stem
    return path.resolve().parent.name if stem.lower() in GENERIC else stem


def _has_repeated(frames: np.ndarray, identities: np.ndarray) -> bool:
    pairs = np.stack([frames, identities], 1)
    return len(np.unique(pairs, axis=0)) < len(pairs)


def _listed_names(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
