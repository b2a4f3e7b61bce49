"""The facts about a network in its exported file, as `serving` needs them; checked and bounded.

Sizes: M persons, T frames, V joints, C channels.
"""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

from flag3d_exp import files
from flag3d_exp.data.pipeline import GraphPipeline, HeatmapPipeline, Pipeline
from flag3d_exp.data.source import Dataset, check_fit
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.names import check_class_names, name_fault
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.moved_settings import modern_pipeline
from flag3d_exp.reading.records import record
from flag3d_exp.skeletons.layout import LAYOUTS, load_layout

PIPELINES = {kind.__name__: kind for kind in (GraphPipeline, HeatmapPipeline)}
MAX_NUMBERS = 100_000_000  # of the clips of one recording: 400 MB
MAX_FILE_NAME = 250  # bytes; with `.yaml` still a valid file name


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of recordings into clips, and the network's classes.

    Args:
        clip_shape: (M, T, V, C).
        scored: the network was trained with scores.
        temperature: divisor of the logits, see `task=calibrate`.
    """

    classes: list[str]
    dataset: Dataset
    pipeline: Pipeline
    stream: Stream
    clip_shape: tuple[int, ...]
    scored: bool
    temperature: float = 1.0


def preprocessing(facts: Mapping[str, Any], path: Path) -> Preprocessing:
    """The preprocessing that the facts of an exported file describe; other facts are ignored.

    Args:
        path: the file, for messages.

    Raises:
        UserError: an entry is missing, of another type or out of range, or two entries contradict
            each other.
    """
    read = {field.name for field in fields(Facts)}
    try:
        known = record(Facts, {key: value for key, value in facts.items() if key in read})
        kind, settings = known.pipeline.get("class"), known.pipeline.get("settings")
        if kind not in list(PIPELINES) or not isinstance(settings, dict):
            raise Malformed(f"`pipeline` must be one of {', '.join(PIPELINES)} and its `settings`")
        layout = {"layout": written_layout(known.layout.name, known.layout.file)}
        made = Preprocessing(
            known.classes,
            record(Dataset, known.dataset | layout),
            record(PIPELINES[kind], modern_pipeline(settings) | layout),
            record(Stream, known.stream),
            tuple(known.clip_shape),
            known.scored,
            known.temperature,
        )
        _check(made)
    except (Malformed, UserError) as error:
        said = str(error).rstrip(".")
        raise UserError(f"`{path}`: its facts about the network can't be used: {said}.") from error
    return made


def written_layout(name: str, file: str | None) -> str:
    """The argument of `load_layout`: a layout's name, or the path where a user's file is written.

    Args:
        file: the content of the user's layout file, which the exported file contains.

    Raises:
        UserError: the package has no such layout, or the name can't be a file name.
    """
    if file is None:
        known = sorted(path.stem for path in LAYOUTS.glob("*.yaml"))
        if name not in known:
            raise UserError(f"`layout` must be one of {', '.join(known)}; got {name!r}.")
        return name
    fault = name_fault(name)
    if fault or len(name.encode()) > MAX_FILE_NAME or set(name) & {"/", "\\", "\0"}:
        raise UserError(f"`layout.name` must be a name, not a path; got {name!r}.")
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, f"{name}.yaml")
    files.write_bytes(path, file.encode("utf-8", errors="replace"))
    return str(path)


def _check(made: Preprocessing) -> None:
    """Refuse facts that contradict each other, and clips too large for memory."""
    if not 0 < made.temperature < float("inf"):
        raise Malformed(f"`temperature` must be a number above 0; got {made.temperature}")
    dataset, pipeline = made.dataset, made.pipeline
    check_class_names(made.classes, "`classes`")
    if len(made.classes) != dataset.num_classes:
        raise Malformed(f"it has {len(made.classes)} `classes`, not {dataset.num_classes}")
    layout = load_layout(dataset.layout)
    check_fit(dataset, layout, pipeline)
    num_channels = pipeline.num_channels(dataset.num_coordinates)
    shape = (pipeline.num_persons, pipeline.clip_len, layout.num_joints, num_channels)
    if made.clip_shape != shape:
        raise Malformed(f"`clip_shape` must be {list(shape)}; got {list(made.clip_shape)}")
    size = prod(shape) * pipeline.num_clips * (1 + pipeline.test_mirrored)
    if size > MAX_NUMBERS:
        raise Malformed(f"the clips of a recording are {size} numbers, above {MAX_NUMBERS}")


@dataclass(frozen=True)
class Facts:
    """The entries of the file's facts that are read."""

    classes: list[str]
    clip_shape: list[int]
    layout: "LayoutFacts"
    dataset: dict[str, Any]
    pipeline: dict[str, Any]
    stream: dict[str, Any]
    scored: bool = False
    temperature: float = 1.0


@dataclass(frozen=True)
class LayoutFacts:
    """A layout's name, its joints, and the content of its file if it is a user's own."""

    name: str
    file: str | None
    joints: list[str] | None = None
