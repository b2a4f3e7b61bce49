"""Checks of the command line: an error is one line with the nearest valid names.

Hydra accepts `+new_key=1` and reports a mistyped name with a page of text. Here every override is
looked up before the run starts, and the composed configuration is checked (see `checks`).
"""

import re
from collections.abc import Iterable
from itertools import islice
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, RangeSweep
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from flag3d_exp.config.checks import (
    CONF,
    MADE,
    check,
    check_by_making,
    check_node,
    check_seed,
    nearest_setting,
    one_line,
    top_level,
)
from flag3d_exp.config.command_line import CommandLine, search_path, within, written_value
from flag3d_exp.config.hydra_adapter import config_loader, parse_overrides
from flag3d_exp.config.recall import recall
from flag3d_exp.devices.ranks import Ranks
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.reading.moved_settings import moved_to
from flag3d_exp.runs.run_folder import check_unused

# Settings whose value decides about other settings; see `recall`.
DECIDING = ("task.checkpoint", "task.resume", "tracking.uri")
# Names of choices in other programs -> the name here.
OTHER_WORDS = {
    "device=cuda": "device=gpu",
    "device=npu": "device=ascend",
    "task=test": "task=evaluate",
    "task=infer": "task=predict",
}
MAX_VALUES = 100_000  # of a range


def check_command_line(argv: list[str]) -> RunMode | None:
    """Check a command line and the run or runs that it composes; return their `hydra.mode`.

    Raises:
        UserError: an unknown group, choice or key, a value of the wrong type, a missing value, or a
            run folder that already holds a run.
    """
    line = CommandLine.parse(argv)
    if line.runs_nothing:
        return None
    flags = line.flags
    overrides = parse_overrides(line.overrides)
    added = search_path(flags.config_dir)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for override in overrides:
            _check_choice(override, flags.config_dir, overrides)
        _check_sweeps(overrides, line.multirun)
        if flags.help or flags.cfg:  # these also show an incomplete configuration
            _compose(_jobs(overrides)[0] + added, flags.config_name or "config")
            return None
        if line.multirun:
            overrides += _sweeper_params(overrides, added, flags.config_name or "config")
        first, alternatives = _jobs(overrides)
        composed, mode = _check_job(line, first, added)
        for at, other in alternatives:
            if not _check_in_place(other, composed):
                _check_job(line, [*first[:at], other, *first[at + 1 :]], added)
        if line.multirun:
            recall(line)
    return mode


def _check_job(
    line: CommandLine, lines: list[str], added: list[str]
) -> tuple[DictConfig, RunMode | None]:
    """Compose a run from its overrides and check it; return its configuration and `hydra.mode`.

    Raises:
        UserError: an override or a value is refused.
    """
    flags = line.flags
    # The jobs of a multirun may use different checkpoints.
    recalled = recall(CommandLine(flags, tuple(lines))) if line.multirun else []
    lines = [*recalled, *lines, *added]
    cfg = _compose(lines, flags.config_name or "config", return_hydra_config=True)
    folder = None if line.multirun else _named_folder(cfg)
    if cfg.hydra.job.chdir:
        raise UserError(
            "`hydra.job.chdir=true` is not accepted: paths are relative to the folder that "
            "the program is started in."
        )
    mode = cfg.hydra.mode
    with open_dict(cfg):
        del cfg["hydra"]
    check(cfg)
    check_by_making(cfg)
    if folder is not None and Ranks.here().first:
        check_unused(folder, cfg.task.get("resume"), "resume" in cfg.task)
    return cfg, mode


def _check_in_place(line: str, cfg: DictConfig) -> bool:
    """Check a job that differs in the value of one setting from a job that was already checked.

    Composing takes ten times as long, and a grid may have hundreds of values. Composing is needed
    only if other values depend on this value.

    Args:
        line: the override in which the job differs.
        cfg: the other job's configuration; unchanged when this returns.

    Returns:
        Whether the job could be checked without composing.

    Raises:
        UserError: the value is not accepted.
    """
    (override,) = parse_overrides([line])
    key, value = override.key_or_group, override.value()
    group, _, name = key.partition(".")
    plain = isinstance(value, (bool, int, float)) or (isinstance(value, str) and "${" not in value)
    # An interpolation in the configuration may use this setting; `recall` reads some settings.
    used = re.search(rf"\$\{{[^}}]*(\.\.|\b{re.escape(key)}\b)", OmegaConf.to_yaml(cfg))
    decides = key in DECIDING or within(key, "hydra") or not (name or key == "seed")
    if override.type is not OverrideType.CHANGE or not plain or used or decides:
        return False
    before = OmegaConf.select(cfg, key)
    OmegaConf.update(cfg, key, value)
    try:
        check_seed(cfg) if key == "seed" else check_node(group, cfg)
        if group in MADE:
            check_by_making(cfg)
    finally:
        OmegaConf.update(cfg, key, before)
    return True


def _named_folder(cfg: DictConfig) -> Path | None:
    """The run folder that a composed configuration names; None if it is named by the time."""
    raw = OmegaConf.to_container(cfg.hydra.run, resolve=False)
    if isinstance(raw, dict) and "${now:" in str(raw["dir"]):
        return None
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(cfg)  # resolves interpolations of Hydra's own settings
    try:
        return Path(cfg.hydra.run.dir)
    finally:
        HydraConfig.instance().cfg = before


def _check_choice(override: Override, config_dir: str | None, others: list[Override]) -> None:
    """Refuse an unknown group or an unknown choice of a known group.

    Args:
        others: all overrides; their choices decide which settings exist for the hint.
    """
    loader = config_loader()
    name = override.key_or_group
    if "." in name or name.startswith("hydra"):
        return
    groups = [group for group in loader.list_groups("") if group != "hydra"]
    if name not in groups:
        plain = top_level() - {"hydra"}
        if name not in plain:
            hint = _as_setting(name, others, groups) or nearest(name, plain)
            raise UserError(
                f"`{name}` is neither a group nor a setting.{hint} "
                f"Groups: {', '.join(sorted(groups))}."
            )
        return
    if override.type is OverrideType.DEL:
        raise UserError(f"`~{name}`: a run needs its `{name}`; choose one with `{name}=...`.")
    choices = sorted(loader.get_group_options(name, ObjectType.CONFIG))
    if config_dir is not None:
        choices += [path.stem for path in Path(config_dir, name).glob("*.yaml")]
    values = _values(override)
    listed = isinstance(override.value(), list) and not override.is_sweep_override()
    if listed and name != "experiment":
        these = ",".join(map(written_value, values))
        raise UserError(f"`{override.input_line}`: choose one; `-m {name}={these}` runs each.")
    if None in values and name in _optional_groups():
        raise UserError(f"`{name}=null`: leave `{name}` out for a run without it.")
    if None in values:
        raise UserError(f"`{name}=null`: a run needs its `{name}`; {_choices_line(name, choices)}")
    for value in values:
        if value is not None and str(value) not in choices:
            meant = OTHER_WORDS.get(f"{name}={value}")
            hint = f" Did you mean `{meant}`?" if meant else nearest(str(value), choices)
            raise UserError(
                f"`{name}={value}` is not a choice.{hint} {_choices_line(name, choices)}"
            )


def _as_setting(name: str, overrides: list[Override], groups: Iterable[str]) -> str:
    """A question with the settings `group.name` that end in `name`; empty if there are none."""
    choices = [
        str(o.input_line)
        for o in overrides
        if o.key_or_group in groups and not o.is_sweep_override() and o.key_or_group != name
    ]
    for lines in (choices, []):
        try:
            cfg = compose("config", lines)
        except (HydraException, OmegaConfBaseException):
            continue
        nodes = {g: cfg[g] for g in groups if isinstance(cfg.get(g), DictConfig)}
        nodes |= {
            f"{group}.{key}": node[key]
            for group, node in nodes.items()
            for key in node
            if not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig)
        }
        found = [f"`{path}.{name}`" for path, node in nodes.items() if name in node]
        return f" Did you mean {' or '.join(found)}?" if found else ""
    return ""


def _choices_line(group: str, choices: Iterable[str]) -> str:
    return f"Choices of `{group}`: {', '.join(choices)}."


def _optional_groups() -> set[str]:
    """The groups in which config.yaml chooses nothing."""
    loaded = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))
    assert isinstance(loaded, dict)
    pairs = [entry for entry in loaded["defaults"] if isinstance(entry, dict)]
    return {group for pair in pairs for group, choice in pair.items() if choice is None}


def _check_sweeps(overrides: list[Override], multirun: bool) -> None:
    """Refuse several values for a single run, and sweeps without values."""
    for override in overrides:
        if override.is_sweep_override() and multirun:
            if fault := _sweep_fault(override.value()):
                raise UserError(f"`{override.input_line}`: {fault}")
        elif override.is_sweep_override():
            key = override.get_key_element()
            raise UserError(
                f"`{override.input_line}`: several values make several runs, which need `-m`; "
                f"one value with a comma is `{key}=\\'...\\'`, a list `{key}=[...]`."
            )


def _sweep_fault(sweep: Any) -> str | None:
    """The reason why a range or an interval has no usable values; None if it has some."""
    if isinstance(sweep, RangeSweep):
        start, stop, step = (float(n or 0) for n in (sweep.start, sweep.stop, sweep.step))
        if not all(map(isfinite, (start, stop, step))) or step == 0:
            return "a range takes finite numbers and a step other than 0."
        num_values = ceil((stop - start) / step)
        if num_values < 1:
            return f"it has no values; `range({sweep.start},{sweep.stop})` ends before its stop."
        if num_values > MAX_VALUES:
            return f"it has {num_values:,} values; at most {MAX_VALUES:,} are accepted."
    if isinstance(sweep, IntervalSweep):
        start, end = float(sweep.start or 0), float(sweep.end or 0)
        if not isfinite(start) or not isfinite(end) or start > end:
            return "an interval takes two finite numbers, the smaller one first."
        if "log" in sweep.tags and start <= 0:
            return "an interval on a log scale must begin above 0."
    return None


def _values(override: Override) -> list[Any]:
    """The values of an override: one, or those of a sweep (none for a continuous sweep)."""
    if override.is_sweep_override():
        if not override.is_discrete_sweep():
            return []
        return list(islice(override.sweep_iterator(), 1000))
    value = override.value()
    return list(value) if isinstance(value, list) and "." not in override.key_or_group else [value]


def _jobs(overrides: list[Override]) -> tuple[list[str], list[tuple[int, str]]]:
    """The first job's overrides, and the replacements that try each other value once.

    A replacement is the position of an override and the override to put there.
    """
    first: list[str] = []
    alternatives: list[tuple[int, str]] = []
    for override in overrides:
        if not override.is_sweep_override():
            first.append(str(override.input_line))
            continue
        if isinstance(interval := override.value(), IntervalSweep):
            first.append(f"{override.get_key_element()}={interval.start}")
            continue
        lines = [
            f"{override.get_key_element()}={value}"
            for value in islice(override.sweep_string_iterator(), 1000)
        ]
        alternatives += [(len(first), line) for line in lines[1:]]
        first.append(lines[0])
    return first, alternatives


def _sweeper_params(
    overrides: list[Override], search_path: list[str], config_name: str
) -> list[Override]:
    """The search space of a chosen sweep; its other settings are checked."""
    cfg = _compose(_jobs(overrides)[0] + search_path, config_name, return_hydra_config=True)
    if not str(cfg.hydra.sweeper._target_).startswith("hydra_plugins.flag3d_exp"):
        return []
    check_node("hydra.sweeper", cfg)
    given = {override.get_key_element() for override in overrides}
    params = cfg.hydra.sweeper.get("params", {})
    lines = [f"{key}={value}" for key, value in params.items() if key not in given]
    with blamed_on("hydra.sweeper.params"):
        parsed = parse_overrides(lines)
        _check_sweeps(parsed, multirun=True)
    return parsed


def _compose(
    overrides: list[str], config_name: str, return_hydra_config: bool = False
) -> DictConfig:
    try:
        return compose(config_name, overrides, return_hydra_config)
    except HydraException as error:
        raise _refusal(error, overrides, config_name) from error
    except OmegaConfBaseException as error:
        raise UserError(f"{one_line(error)}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"a configuration file is not valid YAML: {one_line(error)}.") from error


def _unknown_name_error(error: HydraException) -> UserError | None:
    """The error for a file that asks for a choice or a group that does not exist."""
    loader = config_loader()
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if not group:
            return UserError(f"`--config-name {choice}`: there is no such file in {CONF}.")
        known = sorted(loader.get_group_options(group, ObjectType.CONFIG))
        return UserError(
            f"`{group}={choice}` in a defaults list is not a choice."
            f"{nearest(choice, known)} Choices of `{group}`: {', '.join(known)}."
        )
    if match := re.match(r"In '(.+?)': Could not override '([^']+)'", str(error)):
        file, group = match.groups()
        groups = [name for name in loader.list_groups("") if name != "hydra"]
        return UserError(
            f"`{file}.yaml` overrides the group `{group}`, which is not there."
            f"{nearest(group, groups)} Groups: {', '.join(sorted(groups))}."
        )
    return None


def _refusal(error: HydraException, overrides: list[str], config_name: str) -> UserError:
    """The error for an override that Hydra refused: the unknown key and the similar ones."""
    if misnamed := _unknown_name_error(error):
        return misnamed
    parsed = parse_overrides(overrides)
    if match := re.match(r"Could not override '(hydra\.\w+)\.(\w+)'", str(error)):
        parent, name = match.groups()
        given = [str(o.input_line) for o in parsed if o.key_or_group != f"{parent}.{name}"]
        node = OmegaConf.select(_compose(given, config_name, return_hydra_config=True), parent)
        if not isinstance(node, DictConfig):
            return UserError(f"`{parent}` is no group of settings.")
        return UserError(_not_a_setting(f"{parent}.{name}", node))
    keys = [o for o in parsed if "." in o.key_or_group and not o.key_or_group.startswith("hydra.")]
    rest = [str(o.input_line) for o in parsed if o not in keys]
    try:
        cfg = compose(config_name, overrides=rest)
    except (HydraException, OmegaConfBaseException):
        return UserError(f"{one_line(error)}.")
    for override in keys:
        path = override.key_or_group
        if moved := moved_to(path):
            return UserError(moved)
        parent, _, name = path.rpartition(".")
        node = OmegaConf.select(cfg, parent) if _selectable(cfg, parent) else None
        if not isinstance(node, DictConfig):
            known = [str(k) for k in cfg]
            return UserError(f"`{path}` is not a setting.{nearest(path.split('.')[0], known)}")
        if name in list(node) or override.type is OverrideType.ADD:  # `in` skips missing values
            continue
        add = f" (`+{path}=...` adds an entry.)" if "." in parent else ""
        return UserError(f"{_not_a_setting(path, node)}{add}")
    return UserError(f"{one_line(error)}.")


def _not_a_setting(path: str, node: DictConfig) -> str:
    """The message for a key that is not in `node`: the most similar key, and all keys."""
    if moved := moved_to(path):
        return moved
    known = [str(k) for k in node if not str(k).startswith("_")]
    listed = f" Settings here: {', '.join(known)}." if known else ""
    return f"`{path}` is not a setting.{nearest_setting(path, known)}{listed}"


def _selectable(cfg: DictConfig, path: str) -> bool:
    try:
        OmegaConf.select(cfg, path)
    except OmegaConfBaseException:
        return False
    return True
