"""Checkpoints: one `.npz` of plain arrays, written atomically and verified when read.

Members are `weights/<parameter>`, `optimizer/<parameter>`, `ema/<parameter>` and `meta`, a JSON
text with the run's configuration, its progress and a SHA-256 of all arrays.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp import files
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npz_arrays
from flag3d_exp.reading.text import parsed_json

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    Args:
        weights: every parameter of the model, including running statistics, by name.
        optimizer: the optimizer's own parameters (moments, counters), by name; may be empty.
        ema: moving averages of the weights, by name; empty without averaging.
        meta: JSON values: `config` (YAML text of the run's configuration), `choices` (of each
            group), `data` (SHA-256 of the dataset's file), `progress`.
    """

    weights: Arrays
    optimizer: Arrays = field(default_factory=dict)
    ema: Arrays = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def arrays(self) -> Arrays:
        """All arrays under their names in the file."""
        sections = {"weights": self.weights, "optimizer": self.optimizer, "ema": self.ema}
        return {f"{s}/{name}": a for s, arrays in sections.items() for name, a in arrays.items()}


def save_checkpoint(path: Path, checkpoint: Checkpoint, keep: int = 1) -> None:
    """Write `checkpoint` atomically: `path` is always either the old file or the new one.

    Args:
        keep: how many files to keep: `path` and its predecessors, `<stem>-1`, `<stem>-2`, ...

    Raises:
        OSError: the file could not be written, for example on a full disk; the old one is kept.
    """
    arrays = checkpoint.arrays()
    meta = checkpoint.meta | {"sha256": _digest(arrays)}
    path.parent.mkdir(exist_ok=True)
    files.write_arrays(path, {"meta": np.array(json.dumps(meta)), **arrays}, keep)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        UserError: the file is missing, is not a checkpoint, or is damaged.
    """
    found = _read_arrays(path, meta_only=False)
    meta = found.pop("meta")
    if meta.pop("sha256", None) != _digest(found):
        raise UserError(f"`{path}` is damaged: its contents do not match its checksum.")
    sections: dict[str, Arrays] = {"weights": {}, "optimizer": {}, "ema": {}}
    for name, array in found.items():
        section, _, parameter = name.partition("/")
        sections.setdefault(section, {})[parameter] = array
    return Checkpoint(sections["weights"], sections["optimizer"], sections["ema"], meta)


def load_meta(path: Path) -> dict[str, Any]:
    """Read only the `meta` of a checkpoint.

    Raises:
        UserError: the file is missing or is not a checkpoint.
    """
    return _read_arrays(path, meta_only=True)["meta"]


def _read_arrays(path: Path, meta_only: bool) -> dict[str, Any]:
    try:
        found: dict[str, Any] = dict(npz_arrays(path, ("meta",) if meta_only else None))
        arrays = [array for name, array in found.items() if name != "meta"]
        if any(array.dtype.kind not in "biuf" for array in arrays):
            raise Malformed("it holds weights that are not numbers")
        found["meta"] = _checked_meta(parsed_json(str(found["meta"])))
    except FileNotFoundError:
        raise UserError(f"There is no checkpoint at `{path}`.") from None
    except (Malformed, KeyError) as error:
        reason = "it has no meta" if isinstance(error, KeyError) else error
        raise UserError(
            f"`{path}` is not a checkpoint of this program, or is damaged ({reason})."
        ) from error
    return found


def _checked_meta(meta: Any) -> dict[str, Any]:
    """The meta, after a check of the types of its entries."""
    if not isinstance(meta, dict):
        raise Malformed("its meta is not a mapping")
    choices = meta.get("choices", {})
    if not isinstance(meta.get("config", ""), str) or not isinstance(
        meta.get("progress", {}), dict
    ):
        raise Malformed("its meta is not what a run writes")
    if not isinstance(choices, dict) or not all(
        isinstance(one, str | None) for one in choices.values()
    ):
        raise Malformed("its meta must name a choice for each group")
    return meta


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
