"""Read MindSpore's `.ckpt` files without MindSpore.

A file is a Protocol Buffers message: a list of (name, tensor). A tensor has a shape, the name of
its type and raw little-endian numbers. A large tensor is stored in several parts.
"""

from math import prod
from pathlib import Path
from zlib import crc32

import numpy as np

from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.protobuf import Fields, as_bytes, as_text, varint

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
MAX_AXES = 32  # NumPy's limit
CHECKSUM = b"crc_num"  # followed by ten bytes; MindSpore appends it if a checksum is requested


def read_mindspore_file(path: Path) -> dict[str, np.ndarray]:
    """Tensors of the file, by name.

    Raises:
        UserError: the file does not exist, is damaged or encrypted, or is not a checkpoint.
    """
    data = path.read_bytes()
    parts: dict[str, list[np.ndarray]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        if data[-17:-10] == CHECKSUM:
            data, checksum = data[:-17], int.from_bytes(data[-10:], "big")
            if crc32(data) != checksum:
                raise Malformed("its checksum is wrong")
        fields = Fields()
        for field, value in fields.of(memoryview(data)):
            if field != 1:
                raise Malformed(f"unknown field {field}")
            name, shape, numbers = _named_tensor(fields, as_bytes(value))
            parts.setdefault(name, []).append(numbers)
            shapes[name] = shape
        if not parts:
            raise Malformed("there is nothing in it")
        return {name: _joined_parts(name, parts[name], shapes[name]) for name in parts}
    except Malformed as error:
        raise UserError(
            f"{path} is not a MindSpore checkpoint, or is damaged or encrypted: {error}."
        ) from error


def _named_tensor(fields: Fields, message: memoryview) -> tuple[str, tuple[int, ...], np.ndarray]:
    name, tensor = "", None
    for field, value in fields.of(message):
        if field == 1:
            name = as_text(value)
        elif field == 2:
            tensor = as_bytes(value)
    if not name or tensor is None:
        raise Malformed("an entry lacks its name or its tensor")
    shape: list[int] = []
    type_name, content = "", None
    for field, value in fields.of(tensor):
        if field == 1:
            shape += [value] if isinstance(value, int) else _sizes(value)
        elif field == 2:
            type_name = as_text(value)
        elif field == 3:
            content = as_bytes(value)
        if len(shape) > MAX_AXES:
            raise Malformed(f"`{name}` has more than {MAX_AXES} axes")
    if type_name not in DTYPES or content is None:
        raise Malformed(f"`{name}` has no numbers, or of unknown type {type_name!r}")
    dtype = np.dtype(DTYPES[type_name])
    if len(content) % dtype.itemsize:
        raise Malformed(f"`{name}` ends within a number")
    return name, tuple(shape), np.frombuffer(content, dtype)


def _sizes(data: memoryview) -> list[int]:
    """The sizes of axes from packed integers; stops at one more than the limit."""
    sizes, at = [], 0
    while at < len(data) and len(sizes) <= MAX_AXES:
        size, at = varint(data, at)
        sizes.append(size)
    return sizes


def _joined_parts(name: str, parts: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    numbers = np.concatenate(parts)
    if shape == (0,):
        shape = ()  # MindSpore writes a scalar's shape so
    if prod(shape) != len(numbers):
        raise Malformed(f"`{name}` holds {len(numbers)} numbers, but has shape {shape}")
    return numbers.reshape(shape)
