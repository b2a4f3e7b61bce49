"""The converted form of an annotation file: all arrays one after the other, then an index.

A converted file is written once; its name is the digest of the original. It is memory-mapped, so
opening it reads only the index. Two processes may convert the same file at the same time.
"""

import hashlib
import json
import mmap
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp import files

MAGIC = b"flag3d_exp recordings 5\n"
TAIL = struct.Struct("<QQ32s")  # where the index begins, its length and its SHA-256


def folder(cache: str) -> Path:
    """The folder for a value of `dataset.cache`."""
    return files.user_cache() if cache == "auto" else Path(cache).expanduser()


def place(folder: Path, digest: str) -> Path:
    """The path of the converted form of the file with this digest."""
    return folder / f"{digest}.recordings"


def digest(path: Path, folder: Path) -> str:
    """SHA-256 of the file; it is computed again only if size or modification time has changed."""
    path = path.resolve()
    state = path.stat()
    facts = [str(path), state.st_size, state.st_mtime_ns, state.st_ino]
    record = folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["file"] == facts:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = files.sha256(path)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(record, {"file": facts, "sha256": found})
    return found


def write(place: Path, splits: dict[str, tuple[str, ...]], recordings: Sequence[Any]) -> None:
    """Write `annotations.Recording`s and splits to `place`; safe with concurrent writers."""
    place.parent.mkdir(parents=True, exist_ok=True)
    files.remove_abandoned(place.parent, recursive=False)
    with files.replacing(place) as temporary, temporary.open("wb") as file:
        file.write(MAGIC)
        rows = []
        for recording in recordings:
            arrays = [
                None if array is None else _append(file, array)
                for array in (recording.keypoints, recording.scores)
            ]
            spans = recording.repetitions
            facts = (
                recording.image_shape,
                recording.subject,
                recording.finite,
                recording.generated,
                None if spans is None else spans.tolist(),
            )
            rows.append((recording.name, recording.label, *arrays, *facts))
        begin = file.tell()
        index = json.dumps({"splits": splits, "recordings": rows}).encode()
        file.write(index + TAIL.pack(begin, len(index), hashlib.sha256(index).digest()))


def read(place: Path) -> tuple[dict[str, tuple[str, ...]], Iterator[tuple[Any, ...]]]:
    """The splits, and the fields of each recording in order; arrays are views of the file.

    Raises:
        ValueError: the file is damaged.
    """
    with place.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(mapped) < len(MAGIC) + TAIL.size or mapped[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{place} does not begin with the header of a cache file")
    begin, length, digest = TAIL.unpack(mapped[-TAIL.size :])
    if begin + length + TAIL.size != len(mapped):
        raise ValueError(f"{place} does not end with the trailer of a cache file")
    text = mapped[begin : begin + length]
    if hashlib.sha256(text).digest() != digest:
        raise ValueError(f"{place} has an index that does not match its checksum")
    index = json.loads(text)

    def array(stored: list | None) -> np.ndarray | None:
        return None if stored is None else np.ndarray(stored[0], stored[1], mapped, stored[2])

    def pairs(stored: list | None) -> np.ndarray | None:
        return None if stored is None else np.array(stored, np.int64).reshape(-1, 2)

    rows = (
        (name, label, array(keypoints), array(scores), shape and tuple(shape), *facts, pairs(spans))
        for name, label, keypoints, scores, shape, *facts, spans in index["recordings"]
    )
    return {split: tuple(names) for split, names in index["splits"].items()}, rows


def _append(file: Any, array: np.ndarray) -> tuple[tuple[int, ...], str, int]:
    """Append the array to the file; return its shape, dtype and offset."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    offset = file.tell()
    file.write(array.data)
    return array.shape, array.dtype.str, offset
