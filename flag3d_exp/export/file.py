"""An exported network's file: its graph, facts about the network, and a checksum.

MindIR and ONNX are protobuf messages, which may be written in parts. The graph comes first, then a
JSON text of facts under the name KEY (`metadata_props` in ONNX, `user_info` in MindIR). The facts
include the length and SHA-256 of the graph. An ONNX file is opened without MindSpore.
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
from flag3d_exp.export import arithmetic
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.protobuf import Fields, as_bytes, as_text
from flag3d_exp.reading.records import record
from flag3d_exp.reading.text import file_bytes, parsed_json

KEY = "flag3d_exp"
Format = Literal["mindir", "onnx"]
MAX_BYTES = (2 << 30) - 1  # of a Protocol Buffers message
MAX_MEMORY = 8 << 30  # bytes that ONNX Runtime may use on a CPU, for any file
TEXTS = 14  # the field number in a model, the same in ONNX and MindIR


@dataclass(frozen=True)
class Exported:
    """A network in a file.

    Args:
        facts: the file's facts about the network.
        logits: clips (N, M, T, V, C) float32 -> (N, K), for any N.
    """

    facts: dict[str, Any]
    logits: Callable[[np.ndarray], np.ndarray]


def write_file(path: Path, graph: bytes, facts: dict[str, Any]) -> None:
    """Write a graph and its facts, in the format of the path's suffix."""
    digest = hashlib.sha256(graph).hexdigest()
    text = json.dumps(facts | {"graph": {"bytes": len(graph), "sha256": digest}})
    if path.suffix == ".onnx":
        onnx = import_needed("onnx")
        entry = onnx.StringStringEntryProto(key=KEY, value=text)
        appended = onnx.ModelProto(metadata_props=[entry]).SerializeToString()
    else:
        from flag3d_exp.export import mindir

        appended = mindir.with_facts({KEY: text})
    files.write_bytes(path, graph + appended)


def open_file(path: Path) -> Exported:
    """Open the network in a file that `task=export` wrote.

    Raises:
        UserError: the file is missing, from another program or damaged, or its graph holds more
            than arithmetic.
    """
    if path.suffix not in (".onnx", ".mindir"):
        raise UserError(f"`{path}` must end in .onnx or .mindir, as exported networks do.")
    try:
        content = file_bytes(path, MAX_BYTES)
    except Malformed as error:
        raise UserError(f"`{path}`: {error}.") from error
    try:
        facts = _checked_facts(path, content, _texts(content))
    except Malformed as error:
        kind = {".onnx": "ONNX", ".mindir": "MindIR"}[path.suffix]
        raise UserError(f"`{path}` is not a {kind} file, or is damaged ({error}).") from error
    try:
        arithmetic.check(path.suffix, memoryview(content))
    except Malformed as error:
        raise UserError(f"`{path}`: {error}, which exported files must not hold.") from error
    return (_open_onnx if path.suffix == ".onnx" else _open_mindir)(path, content, facts)


def import_needed(package: str) -> ModuleType:
    """Import a package of the extra `export`.

    Raises:
        UserError: the package is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UserError(
            f'ONNX files need the package {package}: `pip install "flag3d-exp[export]"`.'
        ) from error


def _open_onnx(path: Path, content: bytes, facts: dict[str, Any]) -> Exported:
    runtime = import_needed("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # log only fatal errors; others are raised
    arena = runtime.OrtArenaCfg({"max_mem": MAX_MEMORY, "arena_extend_strategy": 1})
    kinds = runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, runtime.OrtMemType.DEFAULT
    runtime.create_and_register_allocator(
        runtime.OrtMemoryInfo("Cpu", kinds[0], 0, kinds[1]), arena
    )
    options.add_session_config_entry("session.use_env_allocators", "1")
    providers = runtime.get_available_providers()
    try:
        # Constant folding would compute constants of any size when the file is opened.
        session = runtime.InferenceSession(
            content, options, providers, disabled_optimizers=["ConstantFolding"]
        )
    except Exception as error:  # ONNX Runtime's exceptions have no other base class
        reason = " ".join(str(error).split())
        raise UserError(f"`{path}`: ONNX Runtime can't load it ({reason}).") from error

    def logits(clips: np.ndarray) -> np.ndarray:
        return session.run(["logits"], {"keypoints": clips})[0]

    return Exported(facts, logits)


def _open_mindir(path: Path, _: bytes, facts: dict[str, Any]) -> Exported:
    set_environment()
    from flag3d_exp.export import mindir

    shape = facts.get("clip_shape")
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        raise UserError(f"`{path}` is damaged: it does not say the shape of a clip.")
    return Exported(facts, mindir.function(path, tuple(shape)))


def _texts(content: bytes) -> dict[str, str]:
    """The texts that a model carries: `metadata_props` in ONNX, `user_info` in MindIR.

    Raises:
        Malformed: the content is not a model, or a text is given twice.
    """
    fields, texts = Fields(), {}
    for number, value in fields.of(memoryview(content)):
        if number == TEXTS:
            entry = dict(fields.of(as_bytes(value)))
            key, text = (as_text(entry.get(part, memoryview(b""))) for part in (1, 2))
            if key in texts:
                raise Malformed("it holds a text twice")
            texts[key] = text
    return texts


def _checked_facts(path: Path, content: bytes, texts: dict[str, str]) -> dict[str, Any]:
    if KEY not in texts:
        raise UserError(f"`{path}` was not written by `task=export`, or is damaged.")
    facts = parsed_json(texts[KEY])
    if not isinstance(facts, dict):
        raise Malformed("its facts are not a mapping")
    graph = record(GraphFacts, facts.pop("graph", None))
    if not 0 <= graph.bytes <= len(content):
        raise Malformed(f"its graph has {graph.bytes} bytes")
    if hashlib.sha256(memoryview(content)[: graph.bytes]).hexdigest() != graph.sha256:
        raise UserError(f"`{path}` is damaged: its contents do not match its checksum.")
    behind = Fields().of(memoryview(content)[graph.bytes :])
    if any(number != TEXTS for number, _ in behind):
        raise Malformed("it holds more than texts after its graph")
    return facts


@dataclass(frozen=True)
class GraphFacts:
    """Length and SHA-256 of the graph at the beginning of the file."""

    bytes: int
    sha256: str
