"""An exported network's file: its graph, what it says of itself, and a checksum.

MindIR and ONNX are protobuf messages, which may be written in parts: the graph comes first, then a
JSON text of facts under the name KEY (`metadata_props` in ONNX, `user_info` in MindIR), with the
graph's length and SHA-256 among them. An ONNX file is opened without MindSpore.
Sizes: N clips, M persons, T frames, V joints, C channels, K classes.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from flag3d_exp import files
from flag3d_exp.devices.device import set_environment
from flag3d_exp.errors import UserError

KEY = "flag3d_exp"
Format = Literal["mindir", "onnx"]


@dataclass(frozen=True)
class Exported:
    """A network in a file.

    Args:
        facts: what the file says of itself.
        logits: clips (N, M, T, V, C) float32 -> (N, K), for any N.
    """

    facts: dict[str, Any]
    logits: Callable[[np.ndarray], np.ndarray]


def write_file(path: Path, graph: bytes, facts: dict[str, Any]) -> None:
    """Write a graph and its facts, in the format that the path ends in."""
    digest = hashlib.sha256(graph).hexdigest()
    text = json.dumps(facts | {"graph": {"bytes": len(graph), "sha256": digest}})
    if path.suffix == ".onnx":
        onnx = needed("onnx")
        entry = onnx.StringStringEntryProto(key=KEY, value=text)
        appended = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
    else:
        from flag3d_exp.export import mindir

        appended = mindir.with_facts({KEY: text})
    files.write_bytes(path, graph + appended)


def open_file(path: Path) -> Exported:
    """The network in a file that `task=export` wrote.

    Raises:
        UserError: there is none, it is another program's, or it is damaged.
    """
    if path.suffix not in (".onnx", ".mindir"):
        raise UserError(f"`{path}` must end in .onnx or .mindir, as exported networks do.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"`{path}` cannot be read: {error.strerror}.") from error
    return (_open_onnx if path.suffix == ".onnx" else _open_mindir)(path, content)


def needed(package: str) -> ModuleType:
    """A package of the extra `export`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UserError(
            f'ONNX files need the package {package}: `pip install "flag3d-exp[export]"`.'
        ) from error


def _open_onnx(path: Path, content: bytes) -> Exported:
    runtime = needed("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = runtime.InferenceSession(content, options, runtime.get_available_providers())
        texts = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # ONNX Runtime's own have no other parent
        reason = " ".join(str(error).split())
        raise UserError(f"`{path}` is no ONNX file, or is damaged ({reason}).") from error
    facts = _checked_facts(path, content, texts)

    def logits(clips: np.ndarray) -> np.ndarray:
        return session.run(["logits"], {"keypoints": clips})[0]

    return Exported(facts, logits)


def _open_mindir(path: Path, content: bytes) -> Exported:
    set_environment()
    from flag3d_exp.export import mindir

    try:
        texts = mindir.facts_of(content)
    except ValueError as error:
        raise UserError(f"`{path}` is no MindIR file, or is damaged ({error}).") from error
    facts = _checked_facts(path, content, texts)
    return Exported(facts, mindir.function(path, tuple(facts["clip_shape"])))


def _checked_facts(path: Path, content: bytes, texts: dict[str, str]) -> dict[str, Any]:
    if KEY not in texts:
        raise UserError(f"`{path}` was not written by `task=export`, or is damaged.")
    facts = json.loads(texts[KEY])
    graph = facts.pop("graph")
    if hashlib.sha256(content[: graph["bytes"]]).hexdigest() != graph["sha256"]:
        raise UserError(f"`{path}` is damaged: its contents do not match its checksum.")
    return facts
