"""NPZ and NPY files: arrays of numbers and texts, with a limit on memory.

A member may declare a terabyte, or expand a thousandfold (a zip bomb). So the sizes in the archive
and in each array's header are checked before the data is read.
"""

import io
import os
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.reading import Malformed

Arrays = dict[str, np.ndarray]
MAX_DIRECTORY = 32 << 20  # bytes of an archive's list of members
MAX_MEMBERS = 120_000
# Limit on the expanded size of an archive: 100 MB plus 20 times its own size.
FREE_BYTES, MAX_EXPANSION = 100_000_000, 20
MAX_HEADER = 10_000
KINDS = "biufUS"
SUFFIX = ".npy"


def npz_arrays(path: Path, wanted: Collection[str] | None = None) -> Arrays:
    """The arrays of a file, by name.

    Args:
        wanted: the names to read, if they exist; None reads all.

    Raises:
        FileNotFoundError: the file does not exist.
        Malformed: the file is not an NPZ file, is damaged, or would take too much memory.
    """
    with archive_of(path) as archive:
        members = _members(archive)
        chosen = {n: m for n, m in members.items() if wanted is None or n in wanted}
        total = sum(member.file_size for member in chosen.values())
        if total > FREE_BYTES + MAX_EXPANSION * path.stat().st_size:
            raise Malformed(f"it would expand to {total / 1e9:.1f} GB")
        return {name: _array(archive, name, member) for name, member in chosen.items()}


def npy_array(path: Path, limit: int = 1 << 30) -> np.ndarray:
    """The array of a .npy file.

    Raises:
        OSError: the file can't be read.
        Malformed: it is not an array of numbers or text, is damaged, or is larger than `limit`
            bytes.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise Malformed("it is a folder" if os.path.isdir(path) else "it is not a regular file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise Malformed(f"it is larger than {limit >> 20} MB")
        begin = file.read(8)
        if begin[:6] != b"\x93NUMPY":
            raise Malformed("it is not an array (.npy)")
        shape, fortran, dtype = _header(path.name, begin[6], file)
        if dtype.kind not in KINDS or not dtype.itemsize:
            raise Malformed(f"it is an array of {dtype}, not of numbers or text")
        fits = len(shape) <= 32 and min(shape, default=0) >= 0
        if not fits or prod(shape) * dtype.itemsize != size - file.tell():
            raise Malformed(f"it is not as long as its shape {shape} says"[:300])
        flat = np.frombuffer(file.read(), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


@contextmanager
def archive_of(path: Path) -> Iterator[zipfile.ZipFile]:
    """Context manager that opens a zip file and converts errors of the block to `Malformed`.

    Raises:
        FileNotFoundError: the file does not exist.
        Malformed: the file is not a zip file, or is damaged.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise Malformed("it is a folder" if os.path.isdir(path) else "it is not a regular file")
    try:
        with _File(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            file.most = None
            if len(archive.filelist) > MAX_MEMBERS:
                raise Malformed(f"it has more than {MAX_MEMBERS:,} members")
            yield archive
    except (Malformed, FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # zipfile raises many types for damaged archives
        raise Malformed(" ".join(str(error).split()) or type(error).__name__) from error


class _File(io.BufferedReader):
    """A file with a limit of `most` bytes per read, which bounds an archive's list of members."""

    most: int | None = MAX_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        if self.most is not None and size is not None and size > self.most:
            raise Malformed("its list of members is too long")
        return super().read(size)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(SUFFIX)
        if name == member.filename:
            raise Malformed(f"its member `{name}` is not an array")
        if name in members:
            raise Malformed(f"two of its members are called `{name}`")
        members[name] = member
    return members


def _array(archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo) -> np.ndarray:
    if member.flag_bits & 1:
        raise Malformed(f"its member `{name}` is encrypted")
    with archive.open(member) as file:
        begin = file.read(8)
        if begin[:6] != b"\x93NUMPY":
            raise Malformed(f"its member `{name}` is not an array")
        shape, fortran, dtype = _header(name, begin[6], file)
        if dtype.kind not in KINDS or not dtype.itemsize:
            raise Malformed(f"its member `{name}` is an array of {dtype}, not of numbers or text")
        declared = prod(shape) * dtype.itemsize
        sizes_fit = len(shape) <= 32 and min(shape, default=0) >= 0
        if not sizes_fit or declared != member.file_size - file.tell():
            raise Malformed(f"its member `{name}` is not as long as its shape {shape} says"[:300])
        flat = np.empty(prod(shape), dtype)
        _fill(memoryview(flat.view(np.uint8)), file, name)  # pyright: ignore[reportArgumentType]
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(name: str, version: int, file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the array is in Fortran order, and dtype."""
    width = {1: 2, 2: 4}.get(version)
    if width is None:
        raise Malformed(f"its member `{name}` is not an array of numbers")
    raw = file.read(width)
    if (size := int.from_bytes(raw, "little")) > MAX_HEADER:
        raise Malformed(f"its member `{name}` has a header of {size:,} bytes")
    try:
        return _parsed_header(version, raw + file.read(size))
    except Exception as error:  # the header is a Python literal
        reason = " ".join(str(error).split())
        raise Malformed(f"its member `{name}` is not an array: {reason}"[:300]) from error


@lru_cache
def _parsed_header(version: int, raw: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    readers = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    return readers[version](io.BytesIO(raw))


def _fill(target: memoryview, file: Any, name: str) -> None:
    done = 0
    while done < len(target):
        count = file.readinto(target[done : done + (1 << 22)])
        if not count:
            raise Malformed(f"its member `{name}` ends too early")
        done += count
    if file.read(1):
        raise Malformed(f"its member `{name}` is longer than it says")
