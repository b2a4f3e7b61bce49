"""Using a checkpoint with its own run's configuration, and what the command line changes on top."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from flag3d_exp.errors import UserError, blamed_on

OWN_GROUPS = ("task", "device", "tracking")  # never taken from the checkpoint's run


def expanded(overrides: Sequence[str]) -> list[str]:
    """The command line, preceded by what the run that it refers to was started with.

    `task.resume=<run>` repeats the run's own command line in its own folder.
    `task.checkpoint=<file>` repeats the choices of the run that the checkpoint is of, so that
    `model.sigma=1` is composed around its model; the values come from the checkpoint (`recalled`).

    Raises:
        UserError: the run or the checkpoint cannot be read.
    """
    given = dict(line.split("=", 1) for line in overrides if "=" in line)
    uri = given.get("tracking.uri")
    resume = _unquoted(given.get("task.resume", "null"))
    if resume not in ("auto", "null"):
        return _resumed(resume, uri, overrides)
    several = "-m" in overrides or "--multirun" in overrides
    if "task.checkpoint" in given and "experiment" not in given and not several:
        from flag3d_exp.engine.checkpoint import load_meta
        from flag3d_exp.runs.references import find_checkpoint

        path = find_checkpoint(_unquoted(given["task.checkpoint"]), "task.checkpoint", uri)
        if path.suffix == ".npz":
            with blamed_on("task.checkpoint"):
                choices = load_meta(path).get("choices", {})
            kept = [g for g in choices if g not in (*OWN_GROUPS, "experiment", "debug", *given)]
            return _preceded([f"{group}={choices[group]}" for group in kept], overrides)
    return list(overrides)


@blamed_on("task.resume")
def _resumed(reference: str, uri: str | None, overrides: Sequence[str]) -> list[str]:
    from flag3d_exp.runs.references import find_run_folder

    folder = find_run_folder(reference, "task.resume", uri)
    known = folder / ".hydra" / "overrides.yaml"
    if not known.is_file():
        raise UserError(
            f"`task.resume={reference}` holds no run: there is no {known}. "
            "`task.resume=auto` continues what `hydra.run.dir` holds."
        )
    started_with = [str(line) for line in OmegaConf.load(known)]
    saved = [line for line in started_with if not line.startswith("task.resume=")]
    added = [line for line in overrides if not line.startswith("task.resume=")]
    own_folder = f"hydra.run.dir={quoted(str(folder.resolve()))}"
    return [*_preceded(saved, added), "task.resume=auto", own_folder]


def _preceded(saved: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """A command line with overrides before its own, but behind flags such as `--config-dir`."""
    is_override = ("=" in word and not word.startswith("-") for word in overrides)
    first = next((number for number, is_it in enumerate(is_override) if is_it), len(overrides))
    return [*overrides[:first], *saved, *overrides[first:]]


def quoted(value: str) -> str:
    """A text as Hydra's override grammar wants it."""
    return "'" + value.replace("'", "\\'") + "'"


def recalled(cfg: DictConfig, meta: dict[str, Any], overrides: Sequence[str]) -> DictConfig:
    """The configuration a checkpoint was made with, changed as the command line says.

    Args:
        cfg: what the command line composed.
        meta: the checkpoint's.
        overrides: the command line; a chosen group or a given value replaces the run's.
    """
    if "config" not in meta or any(line.startswith("experiment=") for line in overrides):
        return cfg
    saved = OmegaConf.create(meta["config"])
    assert isinstance(saved, DictConfig)
    for group in OWN_GROUPS:
        saved[group] = cfg[group]
    choices = meta.get("choices", {})
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        if key.split(".")[0] in OWN_GROUPS:
            continue
        if key in choices:
            if str(override.value()) != choices[key]:
                for group in (key, "pipeline") if key == "model" else (key,):
                    saved[group] = cfg[group]
        elif key in cfg or "." in key:
            OmegaConf.update(saved, key, OmegaConf.select(cfg, key), force_add=True)
    return saved


def _unquoted(value: str) -> str:
    return value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] else value
