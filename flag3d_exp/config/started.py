"""How a run was started, and the command that starts the same run again."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flag3d_exp.config.command_line import select, shell_command
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_text, parsed_yaml

PLACES = ("hydra.searchpath",)  # settings of Hydra that name the folders of choices


def config_flags(hydra: Any) -> list[str]:
    """The flags that name the folders of a run's choices.

    Args:
        hydra: `HydraConfig.get()`, or the `hydra` of a run folder's `.hydra/hydra.yaml`.
    """
    runtime, name = hydra["runtime"], hydra["job"]["config_name"]
    folders = {source["provider"]: source["path"] for source in runtime["config_sources"]}
    flags = []
    if name != "config":
        flags.append(f"--config-name={name}")
    if "command-line" in folders:
        flags.append(f"--config-dir={_from(runtime['cwd'], folders['command-line'])}")
    return flags


def command(hydra: Any) -> str:
    """A shell command that starts the run again, in a new run folder and a new store.

    Args:
        hydra: as in `config_flags`. The command is for the folder that the run was started in.
    """
    given = hydra["overrides"]
    places = select(given["hydra"], lambda key: key in PLACES)
    task = select(given["task"], lambda key: not key.startswith(("tracking.", "task.resume")))
    return shell_command([*places, *task], config_flags(hydra))


def command_of(folder: Path) -> str | None:
    """As `command`, for the run in a folder; None if the folder does not record it.

    Raises:
        UserError: its hydra.yaml is damaged.
    """
    return _from_hydra(folder, command)


def resuming(folder: Path, override: str) -> str | None:
    """A shell command that continues the run in a folder, with the folders of its choices.

    Args:
        override: the override that names the run.

    Raises:
        UserError: its hydra.yaml is damaged.
    """
    return _from_hydra(folder, lambda hydra: shell_command([override], config_flags(hydra)))


def _from_hydra(folder: Path, make: Callable[[Any], str]) -> str | None:
    path = folder / ".hydra" / "hydra.yaml"
    if not path.is_file():
        return None
    try:
        return make(parsed_yaml(file_text(path))["hydra"])
    except (Malformed, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"`{path}` is not a configuration of Hydra ({error}).") from error


def _from(start: str, path: str) -> str:
    """The path relative to `start` if it is below `start`, else unchanged."""
    return os.path.relpath(path, start) if Path(path).is_relative_to(start) else path
