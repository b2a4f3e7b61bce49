"""Read untrusted pickles of arrays and plain containers without running code from the file.

Unpickling calls functions and classes that the file names. Here a file may name only those that
NumPy writes for arrays and scalars, and functions of this module are called in their place. Arrays
are views of the memory-mapped file, so a file of 2 GB takes only the memory of its small objects.
"""

import mmap
import os
import pickle
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.unpickle import Stateful, Unpickler

DTYPES = frozenset("biufSU")
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive (or .npz)",
    b"\x1f\x8b": "gzip-compressed",
    b"BZh": "bzip2-compressed",
    b"\xfd7zXZ": "xz-compressed",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a .npy file",
}


class StoredArray(Stateful):
    """An array during unpickling: created empty, then filled from its state."""

    array: np.ndarray = np.zeros(0)

    def fill(self, state: Any) -> None:
        """Set shape, dtype, order and numbers."""
        _, shape, dtype, fortran, raw = state
        self.array = _array(raw, dtype, shape, "F" if fortran else "C")


class StoredDType(Stateful):
    """A dtype during unpickling: of numbers or of fixed-width text."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or len(code) > 8 or code.lstrip("<>|=")[:1] not in DTYPES:
            raise Malformed(f"it holds an array of dtype {str(code)[:20]!r}")
        self.dtype = np.dtype(code)

    def fill(self, state: Any) -> None:
        """Set the byte order."""
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


def read_pickle(
    path: Path,
    mapped: bool = True,
    names: Mapping[tuple[str, str], Any] | None = None,
    what: str = "annotations",
    oldest: Literal[0, 2] = 2,
) -> Any:
    """The content of the pickle at `path`; arrays are `StoredArray`, which `plain` unwraps.

    Args:
        mapped: memory-map the file, which stays open while one of its arrays is used; otherwise
            read it into memory.
        names: the names that the file may use, see `Unpickler`; None: those of NumPy's arrays.
        what: what the file should hold, for error messages.
        oldest: the oldest protocol to read; pickles of protocol 0 are recognised by no first byte.

    Raises:
        UserError: the file does not exist, is not a complete pickle, or names another class.
    """
    content = memoryview(_content(path, mapped))
    start = bytes(content[:8])
    kind = next((kind for magic, kind in OTHER_FORMATS.items() if start.startswith(magic)), "")
    if kind:
        raise UserError(f"{path} is {kind}, not a pickle; unpack it, or see `task=convert`.")
    if oldest and start[:1] != pickle.PROTO:
        raise UserError(f"{path} is not a pickle of protocol 2 or later.")
    try:
        return Unpickler(content, NUMPY_NAMES if names is None else names).load()
    except EOFError as error:
        raise UserError(f"{path} is cut short: the pickle has no end.") from error
    except Malformed as error:
        raise UserError(f"{path} can't be read as {what}: {error}.") from error
    except (
        ArithmeticError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        MemoryError,
    ) as error:
        raise UserError(f"{path} is not a pickle, or a damaged one.") from error


def plain(value: Any) -> Any:
    """The array of a `StoredArray`; any other value unchanged."""
    return value.array if isinstance(value, StoredArray) else value


def check_file(path: Path) -> None:
    """Refuse a path that is no file.

    Raises:
        UserError: names it.
    """
    if not os.path.isfile(path):
        kind = "is a folder" if os.path.isdir(path) else "is not there"
        raise UserError(f"{path} {kind}; give the path of an annotation file.")


def _content(path: Path, mapped: bool) -> mmap.mmap | bytes:
    check_file(path)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise UserError(f"{path} is empty.")
            if not mapped:
                return file.read()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from error


def _array(raw: Any, dtype: StoredDType, shape: Any, order: str = "C") -> np.ndarray:
    """The array in these bytes, whose number must match the shape."""
    if isinstance(raw, str):
        raw = raw.encode("latin1")  # written by Python 2
    if not isinstance(raw, bytes | memoryview) or not isinstance(shape, tuple):
        raise Malformed("it holds an array without data or shape")
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise Malformed("it holds an array of negative size")
    if prod(shape) * dtype.dtype.itemsize != len(raw):
        raise Malformed(f"it holds an array of shape {shape} in {len(raw)} bytes"[:120])
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: StoredDType, raw: Any) -> Any:
    return _array(raw, dtype, ()).item()


def _from_buffer(raw: Any, dtype: StoredDType, shape: Any, order: str) -> StoredArray:
    stored = StoredArray()
    stored.array = _array(raw, dtype, shape, order)
    return stored


def _encode(text: str, _: str) -> bytes:
    return text.encode("latin1")  # how protocol 2 writes bytes


NUMPY_NAMES: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: StoredArray(),
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): "ndarray",  # only an argument of _reconstruct, never called
    ("numpy", "dtype"): StoredDType,
    ("_codecs", "encode"): _encode,
}
