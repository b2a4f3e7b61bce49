"""Choices, values and command line of an earlier run that the command line refers to."""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.command_line import CommandLine, assignment, search_path
from flag3d_exp.config.hydra_adapter import parse_overrides
from flag3d_exp.config.recalled import groups
from flag3d_exp.config.started import resuming
from flag3d_exp.config.untrusted import (
    Plain,
    check_values,
    checked_overrides,
    plain_value,
    recorded_values,
)
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_text
from flag3d_exp.runs.run_folder import check_links

OWN_GROUPS = ("task", "device", "tracking")  # never taken from the checkpoint's run
PREPROCESSING = (  # of `dataset`; another dataset brings its file, its splits and its names
    "num_persons",
    "num_channels",
    "score_channel",
    "normalise",
    "score_threshold",
    "clip_len",
)
RECALLED = ("dataset", "stream", "optimizer", "scheduler", "problem")  # of a run to resume
CHOICE = re.compile(r"\w[\w.-]*")


def expanded_words(argv: Sequence[str]) -> list[str]:
    """The command line, preceded by the overrides of the run that it refers to.

    `task.resume=<run>` repeats the run's own command line in its own folder.
    `task.checkpoint=<file>` composes the groups and the seed of the checkpoint's run, except the
    groups that the command line chooses. Its other settings, such as `model.sigma=1`, are applied
    on top.

    Raises:
        UserError: the run or the checkpoint cannot be read.
    """
    line = CommandLine.parse(argv)
    if line.runs_nothing:
        return list(argv)
    resume = line.text("task.resume")
    if resume not in (None, "auto", "null"):
        return _resumed_words(resume, line)
    return line.argv(before=recall(line))


@blamed_on("task.resume")
def _resumed_words(reference: str, line: CommandLine) -> list[str]:
    from flag3d_exp.runs.references import find_run_folder, started_with

    folder = find_run_folder(reference, "task.resume", line.text("tracking.uri"))
    check_links(folder)
    known = folder / ".hydra" / "overrides.yaml"
    lines = started_with(folder)
    if lines is None:
        raise UserError(
            f"`task.resume={reference}` holds no run: there is no {known}. "
            "`task.resume=auto` continues what `hydra.run.dir` holds."
        )
    saved = checked_overrides(lines, str(known), [*line.by_key, "task.resume"])
    _recall_choices(folder, saved, line)
    own_folder = assignment("hydra.run.dir", str(folder.resolve()))
    given = line.without("task.resume")
    return given.argv(before=saved, after=["task.resume=auto", own_folder])


def _recall_choices(folder: Path, saved: Sequence[str], line: CommandLine) -> None:
    """Add the choices that a run took from its `--config-dir` to Hydra's choices, as `recall`.

    Their values are read from the run's configuration.

    Raises:
        UserError: a choice can't be read from there: a sweep, an experiment, a model (which chooses
            a pipeline), or a choice with its own objects. The message gives the command that names
            the folder.
    """
    groups.clear()
    pairs = {o.key_or_group: str(o.value()) for o in parse_overrides(saved)}
    absent = {
        group: choice
        for group, choice in pairs.items()
        if (CONF / group).is_dir() and choice != "None" and not _is_there(group, choice, line)
    }
    if not absent:
        return
    reference = line.by_key["task.resume"].input_line
    command = resuming(folder, str(reference))
    advice = f" The whole command: `{command}`." if command else ""
    path = folder / ".hydra" / "config.yaml"
    try:
        values = recorded_values(file_text(path), str(path))
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error
    for group, choice in absent.items():
        if group not in RECALLED or group not in values:
            raise UserError(f"`{group}={choice}` of the run is not a choice here.{advice}")
    used = {group: values[group] for group in absent}
    try:
        check_values(used, str(path))
    except UserError as error:
        raise UserError(f"{error}{advice}") from error
    if "dataset" in used:
        used["dataset"]["cache"] = "auto"  # a file does not say where the program writes
    for group, choice in absent.items():
        groups[group] = (choice, DictConfig(used[group]))


def _is_there(group: str, choice: str, line: CommandLine) -> bool:
    """Whether conf/ or the folder of `--config-dir` has the choice."""
    folders = [CONF, *([Path(line.flags.config_dir)] if line.flags.config_dir else [])]
    return any((folder / group / f"{choice}.yaml").is_file() for folder in folders)


def recall(line: CommandLine) -> list[str]:
    """Add the groups of the checkpoint's run to Hydra's choices; return the overrides for them.

    Until the next call they hide choices of the same names in conf/. So Hydra composes the values
    of the run and does not need the `--config-dir` of the run.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    groups.clear()
    reference = line.text("task.checkpoint")
    if reference in (None, "null") or "experiment" in line.by_key:
        return []
    from flag3d_exp.engine.checkpoint import load_meta
    from flag3d_exp.runs.references import find_checkpoint

    path = find_checkpoint(reference, "task.checkpoint", line.text("tracking.uri"))
    if path.suffix != ".npz":
        return []
    with blamed_on("task.checkpoint"):
        saved, choices = saved_configuration(load_meta(path), str(path))
    replaced = {group for group in choices if line.text(group) not in (None, choices[group])}
    if "model" in replaced:
        replaced.add("pipeline")  # the other model chooses its own pipeline
    taken = choices.keys() - replaced
    plain = {"seed"} if "dataset" in replaced else {"seed", "fold"}
    used = {key: values for key, values in saved.items() if key in plain or key in taken}
    with blamed_on("task.checkpoint"):
        check_values(used, str(path), lambda: own_configuration(line, choices))
    if "cache" in used.get("dataset", {}):
        used["dataset"]["cache"] = "auto"  # a file does not say where the program writes
    for group in taken:
        groups[group] = (choices[group], DictConfig(used[group]))
    given = {key: used[key] for key in sorted(plain) if used.get(key) is not None}
    if "dataset" not in replaced and "dataset.path" not in line.by_key:
        check_fold(used.get("fold"), line)
    given |= {group: choice for group, choice in choices.items() if group not in replaced}
    if "dataset" in replaced and "model" not in replaced:
        prepared = preprocessing(saved)
        with blamed_on("task.checkpoint"):
            check_values(prepared, str(path), lambda: own_configuration(line, choices))
        given |= prepared
    return [assignment(key, value) for key, value in given.items() if key not in line.by_key]


def check_fold(trained: Any, line: CommandLine) -> None:
    """Refuse to test a checkpoint on another fold, whose recordings it was trained on.

    Args:
        trained: the fold of the checkpoint's run; None if it had none.

    Raises:
        UserError: names both folds.
    """
    if "fold" in line.by_key and line.text("fold") != ("null" if trained is None else str(trained)):
        wanted = line.by_key["fold"].get_value_string()
        raise UserError(
            f"`fold={wanted}`: the network of `task.checkpoint` was trained with "
            f"`fold={'null' if trained is None else trained}`, so it has seen recordings of other "
            "folds; leave `fold` out."
        )


def preprocessing(saved: Plain) -> Plain:
    """The settings of `dataset` by which the run prepared its clips; the checkpoint fixes them."""
    known = saved.get("dataset")
    if not isinstance(known, dict):
        return {}
    return {f"dataset.{key}": known[key] for key in PREPROCESSING if key in known}


def saved_configuration(
    meta: dict[str, Any], file: str = "the checkpoint"
) -> tuple[Plain, dict[str, str]]:
    """The configuration of a checkpoint's run, and its choice in each group.

    Args:
        meta: the checkpoint's.
        file: for messages.

    Raises:
        UserError: the checkpoint holds no valid configuration.
    """
    saved = recorded_values(meta.get("config", ""), file)
    if isinstance(saved.get("model"), dict):
        saved["model"].pop("num_classes", None)  # older checkpoints repeat the dataset's there
    taken = [
        group
        for group, values in saved.items()
        if isinstance(values, dict) and group not in (*OWN_GROUPS, "hydra")
    ]
    names = {group: str(meta.get("choices", {}).get(group, "checkpoint")) for group in taken}
    return saved, {
        group: name if CHOICE.fullmatch(name) else "checkpoint" for group, name in names.items()
    }


def own_configuration(line: CommandLine, choices: Mapping[str, str]) -> Plain:
    """The unresolved configuration of the command line, without values from the checkpoint.

    Args:
        choices: of the checkpoint's run; those that `--config-dir` or conf/ have are chosen.
    """
    groups.clear()
    there = {group: one for group, one in choices.items() if _is_there(group, one, line)}
    overrides = [assignment(key, one) for key, one in there.items() if key not in line.by_key]
    overrides += [str(o.input_line) for o in line.by_key.values() if not o.is_sweep_override()]
    overrides += search_path(line.flags.config_dir)
    try:
        already = GlobalHydra.instance().is_initialized()
        with nullcontext() if already else initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose(line.flags.config_name or "config", overrides)
    except (HydraException, OmegaConfBaseException):  # settings that none of these choices has
        config = OmegaConf.create()
    for key, override in line.by_key.items():
        if "." in key and not key.startswith("hydra.") and not override.is_sweep_override():
            OmegaConf.update(config, key, plain_value(override), force_add=True)
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
