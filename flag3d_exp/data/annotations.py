"""Annotation files in PYSKL's format: recordings with names, and splits that list these names.

    {"split": {"train": [name, ...], ...}, "annotations": [{"name": name, "label": int,
     "keypoints": (M, T0, V, C), "scores": (M, T0, V), "image_shape": (height, width),
     "repetitions": (R, 2)}, ...]}

PYSKL's own field names are accepted too, see `fields`.

Sizes: M persons, T0 frames of the recording, V joints, C coordinates, R repetitions.
"""

import logging
import os
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp import files
from flag3d_exp.data import cache as stores
from flag3d_exp.data.fields import as_spelled, named_fields
from flag3d_exp.data.formats.pickles import plain, read_pickle
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.faults import Faults
from flag3d_exp.names import name_fault
from flag3d_exp.splits import check_split_names

log = logging.getLogger(__name__)
# Limit on the memory of all arrays of a file: 100 MB plus 10 times the file size. Integers grow to
# four times their size, and several recordings of a pickle may share one array.
FREE_BYTES, MAX_SHARING = 100_000_000, 10
MAX_NAMES = 5_000_000  # in all splits; a pickle may share one list between several splits


@dataclass(frozen=True)
class Recording:
    """One annotation at full length.

    Args:
        keypoints: (M, T0, V, C) of a floating type, read-only.
        scores: (M, T0, V), the detector's confidence in each joint.
        image_shape: (height, width) of the image that 2D keypoints are pixels of.
        subject: the person who was recorded; None if the file does not say.
        finite: whether all coordinates and scores are finite.
        generated: whether a network generated it, see `task=generate`.
        repetitions: (R, 2) int64, first and last frame of each repetition of the movement, in
            order; the next one may start in the last frame. None if the file does not say.
    """

    name: str
    label: int
    keypoints: np.ndarray
    scores: np.ndarray | None = None
    image_shape: tuple[int, int] | None = None
    subject: str | None = None
    finite: bool = True
    generated: bool = False
    repetitions: np.ndarray | None = None


@dataclass(frozen=True)
class Annotations:
    """All recordings of a file and its splits, in the file's order.

    Args:
        digest: SHA-256 of the file.
    """

    path: Path
    digest: str
    splits: dict[str, tuple[str, ...]]
    all: Sequence[Recording]

    @cached_property
    def by_name(self) -> dict[str, Recording]:
        """Mapping from names to recordings."""
        return {recording.name: recording for recording in self.all}

    def recordings(self, split: str) -> tuple[Recording, ...]:
        """The recordings of a split, in the order of its names.

        Raises:
            UserError: the split is unknown or empty, or names a recording twice or one that the
                file does not contain.
        """
        if split not in self.splits:
            raise UserError(
                f"{self.path} has no split {split!r}; available: "
                f"{', '.join(self.splits) or 'none'}.{nearest(split, self.splits)}"
            )
        names = self.splits[split]
        if not names:
            raise UserError(f"{self.path}: the split {split!r} is empty.")
        missing = [name for name in names if name not in self.by_name]
        if missing:
            raise UserError(
                f"{self.path}: the split {split!r} names {len(missing)} recordings that are not "
                f"among the annotations, such as {missing[0]!r}."
            )
        if len(set(names)) < len(names):
            raise UserError(f"{self.path}: split {split!r} lists {_first_repeated(names)!r} twice.")
        return tuple(self.by_name[name] for name in names)


def open_annotations(path: str | Path, cache: str | None = "auto") -> Annotations:
    """The annotations of a file, with memory-mapped arrays.

    Args:
        cache: folder for the converted file, which later runs read instead; "auto" is flag3d_exp
            in $XDG_CACHE_HOME or ~/.cache; None reads the original file each time.

    Raises:
        UserError: the file is missing or is not an annotation file, or `cache` can't be written.
    """
    path = Path(path).expanduser()
    if cache is None or not os.path.isfile(path):
        splits, recordings = read_annotations(path)
        return Annotations(path, files.sha256(path), splits, recordings)
    folder = stores.folder(cache)
    try:
        digest = stores.digest(path, folder)
        return Annotations(path, digest, *_cached_content(path, stores.place(folder, digest)))
    except OSError as error:
        reason = f"the cache folder {folder} can't be used: {error.strerror or error}"
        if cache != "auto":
            raise UserError(f"`dataset.cache`: {reason}.") from error
        log.warning("%s; reading %s itself.", reason, path)
        return open_annotations(path, None)


def file_digest(path: str | Path, cache: str | None = "auto") -> str | None:
    """SHA-256 of an annotation file, as in `Annotations`; None if the file does not exist.

    Args:
        cache: as in `open_annotations`.
    """
    path = Path(path).expanduser()
    if not os.path.isfile(path):
        return None
    if cache is not None:
        with suppress(OSError):
            return stores.digest(path, stores.folder(cache))
    return files.sha256(path)


def read_annotations(path: Path) -> tuple[dict[str, tuple[str, ...]], list[Recording]]:
    """Splits and recordings of a PYSKL-style pickle.

    Raises:
        UserError: the file is invalid; the message names the fault and the recording.
    """
    content = read_pickle(path)
    if not isinstance(content, dict) or not {"split", "annotations"} <= content.keys():
        got = (
            f"keys {_short(list(content))}" if isinstance(content, dict) else type(content).__name__
        )
        raise UserError(f"{path} must be a dict with `split` and `annotations`; got {got}.")
    split, annotations = content["split"], content["annotations"]
    if not isinstance(split, dict):
        raise UserError(f"{path}: `split` must map names to lists; got {type(split).__name__}.")
    if sum(len(names) for names in split.values() if isinstance(names, list | tuple)) > MAX_NAMES:
        raise UserError(f"{path}: `split` holds more than {MAX_NAMES:,} names.")
    if not isinstance(annotations, list | tuple):
        got = type(annotations).__name__
        raise UserError(f"{path}: `annotations` must be a list of dicts; got {got}.")
    check_split_names(split, str(path))
    splits = {name: _names(path, name, names) for name, names in split.items()}
    recordings = list(recordings_in(path, annotations))
    names = [recording.name for recording in recordings]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: two recordings are called {_first_repeated(names)!r}.")
    return splits, recordings


def _cached_content(path: Path, place: Path) -> tuple[dict[str, tuple[str, ...]], list[Recording]]:
    """Splits and recordings from the cache; adds them to it first if they are not in it yet."""
    try:
        splits, rows = stores.read(place)
    except (FileNotFoundError, ValueError) as error:
        if isinstance(error, ValueError):
            log.warning("%s; the cache is written again.", error)
        content = read_annotations(path)
        log.info("converting %s once; later runs read %s", path, place)
        stores.write(place, *content)
        splits, rows = stores.read(place)
    return splits, [Recording(*row) for row in rows]


def recordings_in(
    path: Path, annotations: Sequence[Any], shared: bool = True
) -> Iterator[Recording]:
    """The recordings that the annotations of a file describe.

    Args:
        shared: recordings may share an array, as in a pickle; the total size is then limited.

    Raises:
        UserError: some recordings are invalid; the message names each of them and its fault.
    """
    faults, size = Faults(), 0
    limit = FREE_BYTES + MAX_SHARING * path.stat().st_size
    for number, annotation in enumerate(annotations):
        with faults.of(_display_name(annotation, number)):
            recording = recording_of(annotation)
            size += recording.keypoints.nbytes
            size += recording.scores.nbytes if recording.scores is not None else 0
        if shared and size > limit:
            raise UserError(f"{path}: its recordings share their arrays many times over.")
        if not faults.count:
            yield recording
    faults.refuse(str(path))


def recording_of(annotation: Any) -> Recording:
    """The recording that an annotation describes.

    Raises:
        UserError: the annotation is invalid; the message does not contain its name.
    """
    if not isinstance(annotation, dict):
        raise UserError(f"it must be a dict; got {type(annotation).__name__}.")
    fields = named_fields(annotation)
    with as_spelled(annotation):
        return _recording(fields)


def _recording(annotation: dict[Any, Any]) -> Recording:
    """The same as `recording_of`, for an annotation with canonical field names."""
    name = annotation.get("name")
    if wrong := name_fault(name):
        raise UserError(f"`name` {wrong}.")
    label = plain(annotation.get("label"))
    if not isinstance(label, int) or isinstance(label, bool):
        raise UserError(f"`label` must be an integer; got {_short(label)}.")
    keypoints = _numbers(annotation, "keypoints")
    if keypoints.ndim != 4 or 0 in keypoints.shape:
        raise UserError(
            "`keypoints` must have shape (persons, frames, joints, coordinates), none of them 0; "
            f"got {keypoints.shape}."
        )
    if keypoints.shape[-1] not in (2, 3):
        raise UserError(f"`keypoints` must have 2 or 3 coordinates; got {keypoints.shape[-1]}.")
    scores = None
    if "scores" in annotation:
        scores = _numbers(annotation, "scores")
        if scores.shape != keypoints.shape[:3]:
            raise UserError(f"`scores` must have shape {keypoints.shape[:3]}; got {scores.shape}.")
    total = annotation.get("total_frames", keypoints.shape[1])
    if total != keypoints.shape[1]:
        raise UserError(f"`total_frames` is {_short(total)}, but there are {keypoints.shape[1]}.")
    subject = annotation.get("subject")
    subject = str(subject) or None if isinstance(subject, str | int) else None
    if subject is not None and (wrong := name_fault(subject)):
        raise UserError(f"`subject` {wrong}.")
    generated = plain(annotation.get("generated", False))
    if not isinstance(generated, bool):
        raise UserError(f"`generated` must be true or false; got {_short(generated)}.")
    finite = np.isfinite(keypoints).all() and (scores is None or np.isfinite(scores).all())
    return Recording(
        str(name),
        label,
        keypoints,
        scores,
        image_shape=_image_shape(annotation),
        subject=subject,
        finite=bool(finite),
        generated=generated,
        repetitions=_repetitions(annotation, keypoints.shape[1]),
    )


def _numbers(annotation: dict, key: str) -> np.ndarray:
    """The array under `key`, in the floating type in which recordings store it."""
    array = plain(annotation.get(key))
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        got = "nothing" if array is None else got
        raise UserError(f"`{key}` must be an array of numbers; got {got}.")
    if array.dtype in (np.float16, np.float32):
        return array
    with np.errstate(over="ignore"):  # overflow becomes infinite, which `finite` reports
        return array.astype(np.float32)


def _repetitions(annotation: dict, num_frames: int) -> np.ndarray | None:
    """(R, 2) int64, or None if the annotation has no repetitions."""
    if "repetitions" not in annotation:
        return None
    spans = plain(annotation["repetitions"])
    if isinstance(spans, list | tuple):
        if not all(isinstance(span, list | tuple) and len(span) == 2 for span in spans):
            raise UserError("`repetitions` must be pairs of a first and a last frame.")
        if not all(isinstance(edge, int) and abs(edge) < 2**62 for span in spans for edge in span):
            raise UserError("`repetitions` must be whole numbers, frames counted from 0.")
        spans = np.array(spans, np.int64).reshape(-1, 2)
    if not isinstance(spans, np.ndarray) or spans.dtype.kind not in "iu" or spans.ndim != 2:
        raise UserError(
            "`repetitions` must be whole numbers of shape (repetitions, 2), the first and the last "
            f"frame of each; got {_short(spans)}."
        )
    if spans.shape[1] != 2:
        raise UserError(f"`repetitions` must have shape (repetitions, 2); got {spans.shape}.")
    firsts, lasts = spans.astype(np.int64).T
    wrong = (firsts < 0) | (lasts < firsts) | (lasts >= num_frames)
    wrong[1:] |= firsts[1:] < lasts[:-1]
    if wrong.any():
        at = int(wrong.argmax())
        raise UserError(
            f"`repetitions` must rise, each from its first to its last frame within 0 to "
            f"{num_frames - 1}; number {at + 1} is {firsts[at]} to {lasts[at]}."
        )
    return spans.astype(np.int64)


def _display_name(annotation: Any, number: int) -> str:
    """A name for an annotation in error messages, even if it is not a dict or has no name."""
    fields = annotation if isinstance(annotation, dict) else {}
    name = next((fields[key] for key in ("name", "frame_dir", "filename") if key in fields), None)
    return _short(name) if isinstance(name, str) else f"number {number}"


def _image_shape(annotation: dict) -> tuple[int, int] | None:
    shape = plain(annotation.get("image_shape"))
    if shape is None:
        return None
    shape = shape.tolist() if isinstance(shape, np.ndarray) else shape
    if (
        not isinstance(shape, list | tuple)
        or len(shape) != 2
        or not all(isinstance(side, int) and side > 0 for side in shape)
    ):
        raise UserError(f"`image_shape` must be (height, width) in pixels; got {_short(shape)}.")
    return shape[0], shape[1]


def _names(path: Path, split: Any, names: Any) -> tuple[str, ...]:
    names = plain(names)
    names = names.tolist() if isinstance(names, np.ndarray) and names.dtype.kind == "U" else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path}: split {_short(split)} must be a list of recordings' names.")
    return tuple(names)


def _first_repeated(names: Sequence[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))


def _short(value: Any) -> str:
    return reprlib.repr(value)
