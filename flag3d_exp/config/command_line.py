"""A command line in its parts, and how a setting is written in Hydra's override grammar."""

import os
import re
import shlex
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from flag3d_exp.config.hydra_adapter import (
    flag_words,
    key_text,
    parse_arguments,
    parse_overrides,
    quoted_text,
)
from flag3d_exp.errors import UserError

CONFIG_FLAGS = ("config_path", "config_name", "config_dir")
PLAIN = re.compile(r"[A-Za-z0-9_./+@*%-]+")  # such a text may not need quotes
WORD = re.compile(r"[\w./+@*%:~-]+")


@dataclass(frozen=True)
class CommandLine:
    """The words after `python -m flag3d_exp`.

    Args:
        flags: as Hydra's argument parser returns them.
        overrides: `key=value` texts.
    """

    flags: Namespace
    overrides: tuple[str, ...]

    @classmethod
    def parse(cls, argv: Sequence[str]) -> "CommandLine":
        """The parts of an argument vector.

        Raises:
            UserError: an unknown flag, or one without its value.
        """
        flags = parse_arguments(argv)
        return cls(flags, tuple(map(_readable, flags.overrides)))

    @property
    def runs_nothing(self) -> bool:
        """Whether Hydra only prints information; the overrides may then be incomplete."""
        return bool(self.flags.hydra_help or self.flags.shell_completion or self.flags.info)

    @property
    def config_flags(self) -> list[str]:
        """The flags that say where configurations are."""
        places = {name: getattr(self.flags, name) for name in CONFIG_FLAGS}
        return flag_words(Namespace(**(vars(parse_arguments([])) | places)))

    @property
    def multirun(self) -> bool:
        """Whether the command line starts several runs."""
        return self.flags.multirun or self.text("hydra.mode") == "MULTIRUN"

    @cached_property
    def by_key(self) -> dict[str, Override]:
        """The overrides by group or setting; the last one if a key is given twice.

        Raises:
            UserError: an override cannot be parsed.
        """
        return {o.key_or_group: o for o in parse_overrides(self.overrides)}

    def text(self, key: str) -> str | None:
        """The value given for a key, as text; None if it has no value or several (a sweep).

        Raises:
            UserError: an override cannot be parsed.
        """
        override = self.by_key.get(key)
        if override is None or override.is_sweep_override() or override.is_delete():
            return None
        value = override.value()
        # A run id of digits alone is parsed as a number.
        return value if isinstance(value, str) else override.get_value_string()

    def without(self, key: str) -> "CommandLine":
        """The same command line without the overrides of a key."""
        return CommandLine(self.flags, tuple(select(self.overrides, lambda one: one != key)))

    def argv(self, before: Sequence[str] = (), after: Sequence[str] = ()) -> list[str]:
        """The argument vector, with further overrides before and after its own."""
        return [*flag_words(self.flags), *before, *self.overrides, *after]


def _readable(override: str) -> str:
    """The override, with quotes around a single word that Hydra's grammar can't parse.

    For example a path with accents or with `~`.
    """
    key, _, value = override.partition("=")
    if WORD.fullmatch(value) and not (value.isascii() and "~" not in value):
        return f"{key}={quoted_text(value)}"
    return override


def select(overrides: Sequence[str], wanted: Callable[[str], bool]) -> list[str]:
    """The overrides whose group or setting is wanted.

    Raises:
        UserError: an override cannot be parsed.
    """
    return [str(o.input_line) for o in parse_overrides(overrides) if wanted(o.key_or_group)]


def within(key: str, *parents: str) -> bool:
    """Whether a group or setting is one of the parents or within one of them."""
    return any(key == parent or key.startswith((f"{parent}.", f"{parent}/")) for parent in parents)


def search_path(config_dir: str | None) -> list[str]:
    """The overrides that add the folder of `--config-dir` to Hydra's search path.

    Raises:
        UserError: there is no such folder.
    """
    if config_dir is None:
        return []
    if not os.path.isdir(config_dir):
        raise UserError(f"`--config-dir {config_dir}` is not a folder.")
    return [assignment("hydra.searchpath", [f"file://{Path(config_dir).resolve()}"])]


def assignment(key: str, value: Any) -> str:
    """An override that sets a key to a value, in Hydra's grammar.

    Args:
        value: None, a boolean, a number, a text (taken literally, `${...}` included), or a list or
            dictionary of them.
    """
    return f"{key}={written_value(value)}"


def written_value(value: Any) -> str:
    """A value as the right side of an override; `assignment` says which values."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case Mapping():
            pairs = (f"{key_text(str(k))}:{written_value(v)}" for k, v in value.items())
            return f"{{{','.join(pairs)}}}"
        case Sequence() if not isinstance(value, str):
            return f"[{','.join(map(written_value, value))}]"
    text = str(value)
    if PLAIN.fullmatch(text) and parse_overrides([f"key={text}"])[0].value() == text:
        return text
    # OmegaConf takes `\${` for a literal `${`, and halves the backslashes before it.
    return quoted_text(re.sub(r"(\\*)\$\{", r"\1\1\\${", text))


def shell_command(words: Sequence[str], flags: Sequence[str] = ()) -> str:
    """A line for a POSIX shell that runs the program with these overrides."""
    return shlex.join(["python", "-m", "flag3d_exp", *flags, *words])
