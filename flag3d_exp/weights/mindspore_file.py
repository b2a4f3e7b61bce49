"""MindSpore's `.ckpt` files, read without MindSpore.

A file is a Protocol Buffers message: a list of (name, tensor), a tensor being its shape, the name
of its type and its raw little-endian numbers; a large tensor comes in several parts.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from zlib import crc32

import numpy as np

from flag3d_exp.errors import UserError

DTYPES = {
    "Float64": "<f8",
    "Float32": "<f4",
    "Float16": "<f2",
    "Int64": "<i8",
    "Int32": "<i4",
    "Int16": "<i2",
    "Int8": "<i1",
    "UInt8": "<u1",
    "Bool": "?",
}
CHECKSUM = b"crc_num"  # what MindSpore appends when asked for a checksum, and ten bytes


class Malformed(ValueError):
    """The bytes are no such message."""


def read_mindspore_file(path: Path) -> dict[str, np.ndarray]:
    """Tensors of the file, by name.

    Raises:
        UserError: the file is damaged, encrypted or no such file.
    """
    data = path.read_bytes()
    parts: dict[str, list[np.ndarray]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        if data[-17:-10] == CHECKSUM:
            data, checksum = data[:-17], int.from_bytes(data[-10:], "big")
            if crc32(data) != checksum:
                raise Malformed("its checksum is wrong")
        for field, value in _fields(memoryview(data)):
            if field != 1:
                raise Malformed(f"unknown field {field}")
            name, shape, numbers = _named_tensor(_message(value))
            parts.setdefault(name, []).append(numbers)
            shapes[name] = shape
        if not parts:
            raise Malformed("there is nothing in it")
        return {name: _joined(name, parts[name], shapes[name]) for name in parts}
    except (Malformed, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a MindSpore checkpoint, or is damaged or encrypted: {error}."
        ) from error


def _named_tensor(message: memoryview) -> tuple[str, tuple[int, ...], np.ndarray]:
    name, tensor = "", None
    for field, value in _fields(message):
        if field == 1:
            name = bytes(_message(value)).decode("utf-8")
        elif field == 2:
            tensor = _message(value)
    if not name or tensor is None:
        raise Malformed("an entry lacks its name or its tensor")
    shape: list[int] = []
    type_name, content = "", None
    for field, value in _fields(tensor):
        if field == 1:
            shape += [value] if isinstance(value, int) else _varints(value)
        elif field == 2:
            type_name = bytes(_message(value)).decode("utf-8")
        elif field == 3:
            content = _message(value)
    if type_name not in DTYPES or content is None:
        raise Malformed(f"`{name}` has no numbers, or of unknown type {type_name!r}")
    dtype = np.dtype(DTYPES[type_name])
    if len(content) % dtype.itemsize:
        raise Malformed(f"`{name}` ends within a number")
    return name, tuple(shape), np.frombuffer(content, dtype)


def _joined(name: str, parts: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    numbers = np.concatenate(parts)
    if shape == (0,):
        shape = ()  # how a scalar's shape is written
    if prod(shape) != len(numbers):
        raise Malformed(f"`{name}` holds {len(numbers)} numbers, its shape {shape} says otherwise")
    return numbers.reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of each field: an integer, or the bytes of a string or message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
        elif key & 7 == 2:
            length, at = _varint(message, at)
            value = message[at : at + length]
            at += length
            if len(value) < length:
                raise Malformed("it ends too early")
        else:
            raise Malformed(f"unknown wire type {key & 7}")
        yield key >> 3, value


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise Malformed("a number stands where text should")
    return value


def _varints(data: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(integer, position after it): seven bits a byte, least significant first."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed("it ends too early")
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise Malformed("a number runs on too long")
