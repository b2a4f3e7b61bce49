"""References to runs, and the content of run folders: predictions, model, data."""

import json
import os
import re
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flag3d_exp import weights
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.names import check_class_names
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.settings import resolved_values, selected_value
from flag3d_exp.reading.text import file_text, parsed_yaml
from flag3d_exp.results.predictions import Predictions, load_predictions
from flag3d_exp.results.published import CLASSES, protocol
from flag3d_exp.runs.run_folder import GENERATED, TRANSDUCTIVE, inside, read_json
from flag3d_exp.splits import check_split_names

RUN_ID = re.compile(r"[0-9a-f]{32}")
FUSION = "fusion.json"
BUILTIN = Path(weights.__file__).with_name("builtin.npz")  # the checkpoint in the package
LOOKED_UP = {
    "dataset.name": str,
    "dataset.classes": list,
    "model._target_": str,
    "stream.name": str,
}


def resolve(reference: str, key: str, uri: str | None = None, known: Sequence[str] = ()) -> Path:
    """The folder or file that a reference to a run means.

    Args:
        reference: a run folder, a checkpoint file or an MLflow run id. The artifacts of an MLflow
            run are downloaded if its run folder is not on this machine.
        key: the setting whose value is the reference.
        uri: the MLflow store of the run; None for the default store.
        known: other words that the caller accepts, for the message.

    Raises:
        UserError: the reference is none of these.
    """
    path = Path(reference).expanduser()
    if os.path.exists(path):
        return path
    if not RUN_ID.fullmatch(reference):
        raise UserError(
            f"`{key}`: {reference} is neither a run folder, nor a file, nor an MLflow run id "
            f"(32 hex digits).{nearest(reference, known)}"
        )
    from flag3d_exp.runs.artifacts import files_of_run

    with blamed_on(key):
        return files_of_run(reference, uri)


def find_checkpoint(reference: str, key: str, uri: str | None = None) -> Path:
    """The checkpoint file that a reference means; the best checkpoint of a run.

    Args:
        reference: as in `resolve`, or `builtin`, the checkpoint in the package.
        key, uri: as in `resolve`.

    Raises:
        UserError: there is no such checkpoint.
    """
    if reference == BUILTIN.stem and not os.path.exists(reference):
        return BUILTIN
    path = resolve(reference, key, uri, [BUILTIN.stem])
    if not os.path.isdir(path):
        return path
    best = inside(path, "checkpoints", "best.npz")
    if not best.is_file():
        raise UserError(f"`{key}={reference}`: {path} holds no checkpoints/best.npz.")
    return best


def find_run_folder(reference: str, key: str, uri: str | None = None) -> Path:
    """The run folder on this machine that a reference means.

    Args:
        reference, key, uri: as in `resolve`.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(reference).expanduser()
    if os.path.isdir(folder):
        return folder
    if not RUN_ID.fullmatch(reference):
        raise UserError(f"`{key}={reference}` is neither a run folder nor an MLflow run id.")
    from flag3d_exp.runs.artifacts import folder_of_run

    with blamed_on(key):
        return folder_of_run(reference, uri)


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        reference: a folder or an MLflow run id, as the user gave it.
        folder: the folder with its files.
        title: a short title, unique among the runs that are opened together.
        predictions: by split.
        config: the composed configuration; empty if the folder has none.
        classes: names of the classes in the order of their labels; numbers if the run does not name
            them (`names_classes`).
    """

    reference: str
    folder: Path
    title: str
    predictions: dict[str, Predictions]
    config: dict[str, Any]
    classes: tuple[str, ...]
    names_classes: bool = True

    @property
    def place(self) -> str:
        """The MLflow run id or the folder's name; pages show no more of the run's location."""
        return self.reference if RUN_ID.fullmatch(self.reference) else self.folder.resolve().name

    @property
    def dataset(self) -> str | None:
        """The dataset's name, if the configuration has one."""
        return self.config.get("dataset", {}).get("name")


def open_runs(references: Sequence[str], uri: str | None = None) -> list[Run]:
    """The named runs, each with a unique title.

    Raises:
        UserError: no run is named, a run is named twice, or a run cannot be opened.
    """
    if not references:
        raise UserError("`task.runs` must name at least one run: a run folder or an MLflow run id.")
    with blamed_on("task.runs"):
        runs = [open_run(str(reference), uri) for reference in references]
    for number, run in enumerate(runs):
        for other in runs[:number]:
            if run.folder.resolve() == other.folder.resolve():
                raise UserError(
                    f"`task.runs` names one run twice: {other.reference} and {run.reference}."
                )
    runs = [_with_class_names(run, runs) for run in runs]
    titles = Counter(run.title for run in runs)
    runs = [
        replace(run, title=f"{run.title} ({run.folder.name})") if titles[run.title] > 1 else run
        for run in runs
    ]
    titles = Counter(run.title for run in runs)
    return [
        replace(run, title=f"{number}: {run.title}") if titles[run.title] > 1 else run
        for number, run in enumerate(runs, start=1)
    ]


def open_run(reference: str, uri: str | None = None) -> Run:
    """The run of a run folder or an MLflow run id.

    Raises:
        UserError: there is no such run, or it holds no predictions.
    """
    folder = resolve(reference, "task.runs", uri)
    names = sorted(path.name for path in (folder / "predictions").glob("*.npz"))
    if not names:
        raise UserError(
            f"run {reference} holds no predictions (none in {folder / 'predictions'}); "
            "make them with `task=evaluate`."
        )
    paths = [inside(folder, "predictions", name) for name in names]
    predictions = {path.stem: load_predictions(path) for path in paths}
    check_split_names(predictions, f"run {reference}: `predictions`", averaged=True)
    config = _config(folder)
    fusion = _fusion(folder)
    counts = {split: one.num_classes for split, one in predictions.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"run {reference}: its splits differ in the number of classes: {counts}.")
    num_classes = next(iter(counts.values()))
    classes = _classes(reference, config, predictions)
    numbers = tuple(f"class {label}" for label in range(num_classes))
    title = fusion.get("title") or _title(folder, config)
    return Run(
        reference,
        folder,
        title,
        predictions,
        config,
        classes=classes or numbers,
        names_classes=classes is not None,
    )


def common_splits(runs: Sequence[Run], chosen: Sequence[str] | None = None) -> list[str]:
    """The splits that all runs have predictions of, or those `chosen`.

    Raises:
        UserError: a run lacks a chosen split, or no split is common to all.
    """
    for split in chosen or ():
        for run in runs:
            if split not in run.predictions:
                raise UserError(
                    f"`task.splits`: run {run.reference} has no predictions of split {split!r}; "
                    f"there: {', '.join(run.predictions)}.{nearest(split, run.predictions)}"
                )
    if chosen:
        return list(chosen)
    common = [split for split in runs[0].predictions if all(split in r.predictions for r in runs)]
    if not common:
        raise UserError(
            "the runs have no split in common: "
            + "; ".join(f"{run.reference} has {', '.join(run.predictions)}" for run in runs)
            + "."
        )
    # The in-domain split comes first: other splits are compared with it.
    return sorted(common, key=lambda split: (split != "val", split))


def by_seed(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Groups of runs that differ only in their seed, by a unique title.

    A run without a configuration and a fused run each form a group of their own. So do runs with
    equal seeds: the same run twice gives no estimate of the variance.
    """
    alike: dict[str, list[Run]] = {}
    for run in runs:
        told = run.config and not (run.folder / FUSION).exists()
        key = json.dumps(_but_the_seed(run), sort_keys=True, default=str) if told else run.title
        alike.setdefault(key, []).append(run)
    groups: list[list[Run]] = []
    for members in alike.values():
        distinct = len({run.config.get("seed") for run in members}) == len(members)
        groups += [members] if distinct else [[run] for run in members]
    titles = [_title(g[0].folder, g[0].config) if len(g) > 1 else g[0].title for g in groups]
    shared = [title for title, count in Counter(titles).items() if count > 1]
    for title in shared:
        which = [number for number, other in enumerate(titles) if other == title]
        facts = {n: _flat(_but_the_seed(groups[n][0])) for n in which}
        keys = dict.fromkeys(key for one in facts.values() for key in one)
        differing = [k for k in keys if len({repr(one.get(k)) for one in facts.values()}) > 1]
        for n in which:
            told = " ".join(f"{key}={facts[n].get(key)}" for key in differing[:3])
            titles[n] = f"{title} {told}".strip()
    return dict(zip(titles, groups, strict=True))


def _but_the_seed(run: Run) -> dict[str, Any]:
    """The configuration without its seed and without settings that do not change the result."""
    config = {k: v for k, v in run.config.items() if k not in ("seed", "tracking")}
    for group, names in {"task": ("resume",), "device": ("id",)}.items():
        if isinstance(config.get(group), dict):
            config[group] = {k: v for k, v in config[group].items() if k not in names}
    return config


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings, by dotted name."""
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


def check_same_classes(runs: Sequence[Run]) -> None:
    """Refuse runs whose classes differ in number, name or order."""
    for run in runs[1:]:
        if len(run.classes) != len(runs[0].classes):
            raise UserError(
                f"{runs[0].reference} and {run.reference} know different classes: "
                f"{len(runs[0].classes)} and {len(run.classes)}."
            )
        for label, (one, other) in enumerate(zip(runs[0].classes, run.classes, strict=True)):
            if one != other:
                raise UserError(
                    f"{runs[0].reference} and {run.reference} know different classes: "
                    f"label {label} is {one!r} and {other!r}."
                )


def _config(folder: Path) -> dict[str, Any]:
    """The run's configuration; for a fused run, the settings that its members share.

    Raises:
        UserError: the file is not a configuration.
    """
    if fusion := _fusion(folder):
        return _checked_config(fusion["config"], folder / FUSION)
    for parts in ((".hydra", "config.yaml"), ("config", "config.yaml")):
        path = inside(folder, *parts)
        if path.exists():
            try:
                return _checked_config(
                    resolved_values(_mapping(parsed_yaml(file_text(path)))), path
                )
            except Malformed as error:
                raise UserError(f"{path}: {error}.") from error
    return {}


def _fusion(folder: Path) -> dict[str, Any]:
    """The content of `fusion.json` of a fused run; empty for other runs.

    Raises:
        UserError: the file was not written by `task=fuse`.
    """
    fusion = read_json(folder, FUSION)
    if fusion is None:
        return {}
    if not (
        isinstance(fusion, dict)
        and isinstance(fusion.get("config"), dict)
        and isinstance(fusion.get("title"), str)
    ):
        raise UserError(f"{folder / FUSION} is not what `task=fuse` writes.")
    return fusion


def started_with(folder: Path) -> list[str] | None:
    """The overrides that a run was started with; None if its folder does not record them.

    Raises:
        UserError: the file does not hold a list of texts.
    """
    path = inside(folder, ".hydra", "overrides.yaml")
    if not path.is_file():
        return None
    try:
        lines = parsed_yaml(file_text(path)) or []
    except Malformed as error:
        raise UserError(f"{path} can't be read: {error}.") from error
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise UserError(f"{path} must be a list of overrides.")
    return lines


def _mapping(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise Malformed(f"it must be a mapping; got {type(value).__name__}")
    return value or {}


def _checked_config(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The configuration, after a check of the types of the values that are used."""
    config = {key: value for key, value in config.items() if value is not None}
    for key, kind in LOOKED_UP.items():
        parent = selected_value(config, key.rpartition(".")[0])
        if parent is not None and not isinstance(parent, dict):
            raise UserError(f"{path}: `{key.partition('.')[0]}` must be a group of settings.")
        value = selected_value(config, key)
        if value is not None and not isinstance(value, kind):
            raise UserError(f"{path}: `{key}` must be {kind.__name__}; got {reprlib.repr(value)}.")
    classes = selected_value(config, "dataset.classes") or []
    if not all(isinstance(name, str) for name in classes):
        raise UserError(f"{path}: `dataset.classes` must be names.")
    return config


def _title(folder: Path, config: dict[str, Any]) -> str:
    model = config.get("model", {}).get("_target_", "").rpartition(".")[2]
    stream = config.get("stream", {}).get("name", "")
    title = " ".join(part for part in (model, stream) if part) or folder.name
    for file in (TRANSDUCTIVE, GENERATED):
        if (folder / file).is_file():
            title += f" ({file.partition('.')[0]})"
    return title


def _with_class_names(run: Run, others: Sequence[Run]) -> Run:
    """The run; if it has no class names, with those of another run that has some."""
    for other in others:
        if not run.names_classes and other.names_classes and len(run.classes) == len(other.classes):
            return replace(run, classes=other.classes)
    return run


def _classes(
    reference: str, config: dict[str, Any], predictions: dict[str, Predictions]
) -> tuple[str, ...] | None:
    num_classes = next(iter(predictions.values())).num_classes
    names = config.get("dataset", {}).get("classes")
    if names and len(names) == num_classes:
        check_class_names(names, f"run {reference}: `dataset.classes`")
        return tuple(names)
    if any(protocol(one.names, num_classes) for one in predictions.values()):
        return CLASSES
    return None
