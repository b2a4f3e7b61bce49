"""PyTorch's zip checkpoint files, read without PyTorch and without running anything they hold.

Such a file is a zip archive of a pickle, which says which tensors there are, and of their raw
numbers. The pickle may name a handful of types and functions, for which harmless ones of ours stand
in; a pickle that names anything else is refused.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.errors import UserError

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # PyTorch before 1.6
MAX_PICKLE_BYTES = 64 << 20
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
    """What a storage's class says: the type of its numbers."""

    name: str


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Tensors of the file's state dict, by name.

    The state dict is the file's content itself or its entry `state_dict`, as mmcv writes it.

    Raises:
        UserError: the file can't be read, is damaged, holds no state dict, or names what no
            checkpoint needs.
    """
    try:
        content = _content(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle can fail in every way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is damaged: {reason}.") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no state dict, but {type(content).__name__}.")
    tensors = {str(k): v for k, v in content.items() if isinstance(v, np.ndarray)}
    if not tensors or len(tensors) < len(content):
        other = next((key for key in content if str(key) not in tensors), None)
        raise UserError(f"{path} holds no state dict of tensors; it has `{other}`.")
    return tensors


def _content(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError("it is a zip file, but not one that PyTorch wrote.")
        folder = pickles[0].removesuffix("data.pkl")
        if archive.getinfo(pickles[0]).file_size > MAX_PICKLE_BYTES:
            raise UserError(f"its pickle is larger than {MAX_PICKLE_BYTES >> 20} MB.")
        order = ">" if _optional(archive, folder + "byteorder") == b"big" else "<"
        return _Reader(archive.read(pickles[0]), archive, folder, order).load()


def _optional(archive: zipfile.ZipFile, name: str) -> bytes | None:
    return archive.read(name) if name in archive.namelist() else None


class _Reader(pickle.Unpickler):
    """An unpickler that knows tensors, and no code."""

    def __init__(self, data: bytes, archive: zipfile.ZipFile, folder: str, order: str):
        super().__init__(io.BytesIO(data))
        self.archive, self.folder, self.order = archive, folder, order

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in DTYPES:
            return StorageType(name)
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor,  # bound: a pickle can't change it
            ("torch._utils", "_rebuild_parameter"): self.parameter,
        }
        if (module, name) not in known:
            raise UserError(f"refused, because it names `{module}.{name}`, which could run code.")
        return known[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        """The flat numbers of a storage: ("storage", type, key, device, number of elements)."""
        kind, storage_type, key, _, num_elements = pid
        if kind != "storage" or not isinstance(storage_type, StorageType):
            raise UserError("it refers to something that is no storage.")
        dtype = np.dtype(self.order + DTYPES[storage_type.name])
        info = self.archive.getinfo(f"{self.folder}data/{key}")
        if info.compress_type != zipfile.ZIP_STORED or (
            info.file_size != num_elements * dtype.itemsize
        ):
            raise UserError(f"its tensor data `{info.filename}` is not as long as it says.")
        numbers = np.frombuffer(self.archive.read(info), dtype)
        if storage_type.name == "BFloat16Storage":
            return (numbers.astype(np.uint32) << 16).view(np.float32)
        return numbers.astype(dtype.newbyteorder("="))

    def tensor(
        self, storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_unused: Any
    ) -> np.ndarray:
        """A strided view of a storage, copied; it must lie within the storage."""
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
            raise UserError(f"it describes a tensor of size {size} and stride {stride}.")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if prod(size) and (last >= len(storage) or prod(size) > len(storage)):
            raise UserError(f"it describes a tensor of size {size} beyond its data.")
        strides = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()

    def parameter(self, tensor: np.ndarray, *_unused: Any) -> np.ndarray:
        return tensor
