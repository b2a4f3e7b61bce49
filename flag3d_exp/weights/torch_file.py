"""Read PyTorch's zip checkpoint files without PyTorch and without running code from them.

Such a file is a zip archive of a pickle, which describes the tensors, and of their raw numbers. The
pickle may name only a few types and functions, which are replaced by harmless ones of this module.
A pickle that names anything else is refused.
"""

import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import archive_of
from flag3d_exp.reading.unpickle import Stateful, Unpickler

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # PyTorch before 1.6
MAX_PICKLE_BYTES = 64 << 20
MAX_OPCODES = 5_000_000  # a published state dict takes some ten thousand
MAX_AXES = 32  # NumPy's limit
MAX_SHARING = 10  # limit on the memory of all tensors, relative to the size of the file
DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",  # the upper half of a float32
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class StorageType:
    """A storage class: the type of its numbers."""

    name: str


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Tensors of the file's state dict, by name.

    The state dict is the file's content or its entry `state_dict`, as written by mmcv.

    Raises:
        UserError: the file can't be read, is damaged, holds no state dict, or names a type or
            function that is not allowed.
    """
    try:
        content = _content(path)
    except Malformed as error:
        raise UserError(f"{path} can't be read as a PyTorch checkpoint: {error}.") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no state dict, but {type(content).__name__}.")
    tensors = {str(k): v for k, v in content.items() if isinstance(v, np.ndarray)}
    if sum(tensor.nbytes for tensor in tensors.values()) > MAX_SHARING * path.stat().st_size:
        raise UserError(f"{path} holds tensors that share their numbers many times over.")
    if not tensors or len(tensors) < len(content):
        other = next((key for key in content if str(key) not in tensors), None)
        raise UserError(f"{path} holds no state dict of tensors; it has `{other}`.")
    return {name: tensor.copy() for name, tensor in tensors.items()}


def _content(path: Path) -> Any:
    with archive_of(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Malformed("it is a zip file, but not one that PyTorch wrote")
        folder = pickles[0].removesuffix("data.pkl")
        order = ">" if _optional(archive, folder + "byteorder") == b"big" else "<"
        storages = _Storages(archive, folder, order)
        content = _member(archive, archive.getinfo(pickles[0]), MAX_PICKLE_BYTES)
        reader = Unpickler(memoryview(content), NAMES, storages.numbers, MAX_OPCODES)
        try:
            return reader.load()
        except EOFError as error:
            raise Malformed("its pickle has no end") from error


def _optional(archive: zipfile.ZipFile, name: str) -> bytes | None:
    return _member(archive, archive.getinfo(name), 100) if name in archive.namelist() else None


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    if member.file_size > most:
        raise Malformed(f"its member `{member.filename}` is larger than {most:,} bytes")
    return archive.read(member)


class StateDict(dict, Stateful):
    """An OrderedDict of a pickle, without the attributes that PyTorch adds."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def fill(self, state: Any) -> None:
        """Take nothing."""


class _Storages:
    """The numbers of storages; each is read once, even if a pickle names it several times."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, order: str) -> None:
        self.archive, self.folder, self.order = archive, folder, order
        self.read: dict[tuple[str, str], np.ndarray] = {}

    def numbers(self, identifier: Any) -> np.ndarray:
        """The flat numbers of ("storage", type, key, device, number of elements)."""
        if not isinstance(identifier, tuple) or len(identifier) != 5:
            raise Malformed("it refers to something that is not a storage")
        kind, storage_type, key, _, num_elements = identifier
        if kind != "storage" or not isinstance(storage_type, StorageType):
            raise Malformed("it refers to something that is not a storage")
        place = (storage_type.name, str(key))
        if place not in self.read:
            self.read[place] = self._read_storage(storage_type.name, str(key))
        if len(self.read[place]) != num_elements:
            raise Malformed(f"its tensor data `{key}` is not as long as it says")
        return self.read[place]

    def _read_storage(self, storage: str, key: str) -> np.ndarray:
        dtype = np.dtype(self.order + DTYPES[storage])
        info = self.archive.getinfo(f"{self.folder}data/{key}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size % dtype.itemsize:
            raise Malformed(f"its tensor data `{info.filename}` is not as long as it says")
        numbers = np.frombuffer(self.archive.read(info), dtype)
        if storage == "BFloat16Storage":
            return (numbers.astype(np.uint32) << 16).view(np.float32)
        return numbers.astype(dtype.newbyteorder("="))


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_unused: Any) -> np.ndarray:
    """A strided view of a storage; it must be within the storage."""
    if not isinstance(storage, np.ndarray) or not isinstance(size, tuple):
        raise Malformed("it describes a tensor without data or size")
    numbers = (offset, *size, *(stride if isinstance(stride, tuple) else (None,)))
    if len(numbers) != 1 + 2 * len(size) or any(type(n) is not int or n < 0 for n in numbers):
        raise Malformed(f"it describes a tensor of size {size} and stride {stride}"[:200])
    if len(size) > MAX_AXES:
        raise Malformed(f"it describes a tensor of {len(size):,} axes")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) and (last >= len(storage) or prod(size) > len(storage)):
        raise Malformed(f"it describes a tensor of size {size} beyond its data"[:200])
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _parameter(tensor: Any, *_unused: Any) -> Any:
    return tensor


NAMES: dict[tuple[str, str], Any] = {
    **{("torch", name): StorageType(name) for name in DTYPES},
    ("collections", "OrderedDict"): StateDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
