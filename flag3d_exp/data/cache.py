"""The converted form of an annotation file: all arrays end to end, then an index of them.

A file is written once, under the digest of what it was made from, and mapped into memory; opening
it reads only the index. Two processes that convert the same file don't disturb one another.
"""

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp import files

MAGIC = b"flag3d_exp recordings 2\n"
TAIL = struct.Struct("<QQ32s")  # where the index begins, its length and its SHA-256


def folder(cache: str) -> Path:
    """The folder that `dataset.cache` means."""
    if cache != "auto":
        return Path(cache).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "flag3d_exp"


def place(folder: Path, digest: str) -> Path:
    """Where the converted form of the file with this digest belongs."""
    return folder / f"{digest}.recordings"


def digest(path: Path, folder: Path) -> str:
    """SHA-256 of the file; read again only if its size or modification time has changed."""
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
    found = sha256(path)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(record, {"file": facts, "sha256": found})
    return found


def sha256(path: Path) -> str:
    """The file's digest, in hexadecimal digits."""
    with path.open("rb") as file:
        found = hashlib.sha256()
        while block := file.read(1 << 22):
            found.update(block)
    return found.hexdigest()


def write(place: Path, splits: dict[str, tuple[str, ...]], recordings: Sequence[Any]) -> None:
    """Store `annotations.Recording`s and splits at `place`; other processes may do so, too."""
    place.parent.mkdir(parents=True, exist_ok=True)
    files.remove_abandoned(place.parent, recursive=False)
    with files.replacing(place) as temporary, temporary.open("wb") as file:
        file.write(MAGIC)
        rows = []
        for recording in recordings:
            arrays = [
                None if array is None else _appended(file, array)
                for array in (recording.keypoints, recording.scores)
            ]
            facts = (recording.image_shape, recording.subject, recording.finite)
            rows.append((recording.name, recording.label, *arrays, *facts))
        begin = file.tell()
        index = json.dumps({"splits": splits, "recordings": rows}).encode()
        file.write(index + TAIL.pack(begin, len(index), hashlib.sha256(index).digest()))


def read(place: Path) -> tuple[dict[str, tuple[str, ...]], Iterator[tuple[Any, ...]]]:
    """The splits, and for each recording its fields in order; arrays are views of the file.

    Raises:
        ValueError: the file is damaged.
    """
    with place.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(mapped) < len(MAGIC) + TAIL.size or mapped[: len(MAGIC)] != MAGIC:
        raise ValueError(f"{place} does not begin as one of our files")
    begin, length, digest = TAIL.unpack(mapped[-TAIL.size :])
    if begin + length + TAIL.size != len(mapped):
        raise ValueError(f"{place} does not end as one of our files")
    text = mapped[begin : begin + length]
    if hashlib.sha256(text).digest() != digest:
        raise ValueError(f"{place} has an index that does not match its checksum")
    index = json.loads(text)

    def array(stored: list | None) -> np.ndarray | None:
        return None if stored is None else np.ndarray(stored[0], stored[1], mapped, stored[2])

    rows = (
        (name, label, array(keypoints), array(scores), shape and tuple(shape), subject, finite)
        for name, label, keypoints, scores, shape, subject, finite in index["recordings"]
    )
    return {split: tuple(names) for split, names in index["splits"].items()}, rows


def _appended(file: Any, array: np.ndarray) -> tuple[tuple[int, ...], str, int]:
    """Write the array at the end; returns shape, dtype and offset."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    offset = file.tell()
    file.write(array.data)
    return array.shape, array.dtype.str, offset
