"""Using a checkpoint with its own run's configuration, and what the command line changes on top."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from flag3d_exp.engine.checkpoint import load_meta
from flag3d_exp.errors import UserError

OWN_GROUPS = ("task", "device", "tracking")  # never taken from the checkpoint's run
RUN_ID = re.compile(r"[0-9a-f]{32}")


def with_recalled_choices(overrides: Sequence[str]) -> list[str]:
    """The command line, preceded by the choices of the run whose checkpoint it names, if it does.

    So `task=evaluate task.checkpoint=<file> model.sigma=1` is composed around the model that the
    checkpoint is of. The values themselves come from the checkpoint (`recalled`).
    """
    given = dict(line.split("=", 1) for line in overrides if "=" in line)
    reference = given.get("task.checkpoint")
    if not reference or "experiment" in given:
        return list(overrides)
    path = find_checkpoint(_unquoted(reference), given.get("tracking.uri"))
    if path is None:
        return list(overrides)
    choices = load_meta(path).get("choices", {})
    own = [
        f"{group}={choice}"
        for group, choice in choices.items()
        if group not in (*OWN_GROUPS, "experiment") and group not in given
    ]
    return [*own, *overrides]


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


def find_checkpoint(reference: str, uri: str | None = None) -> Path | None:
    """The checkpoint file that a path, a run folder or an MLflow run id stands for; None if none."""
    path = Path(reference).expanduser()
    if path.is_dir():
        return path / "checkpoints" / "best.npz"
    if path.is_file():
        return path
    if RUN_ID.fullmatch(reference):
        from flag3d_exp.tracking import run_artifact

        return run_artifact(reference, "checkpoints/best.npz", uri)
    return None


def checkpoint_path(reference: str, uri: str | None) -> Path:
    """As `find_checkpoint`.

    Raises:
        UserError: there is no such checkpoint.
    """
    path = find_checkpoint(reference, uri)
    if path is None or not path.is_file():
        raise UserError(
            f"`task.checkpoint={reference}` is neither a checkpoint file, nor a run folder with "
            "checkpoints/best.npz, nor an MLflow run id."
        )
    return path


def _unquoted(value: str) -> str:
    try:
        parsed = OverridesParser.create().parse_override(f"value={value}").value()
    except HydraException:
        return value
    return os.fspath(parsed) if isinstance(parsed, str) else value
