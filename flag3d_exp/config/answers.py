"""Answers about the program: its version, the settings of a choice, shell completions."""

import ast
import os
import textwrap
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.choices import WHOLE, meaning, read
from flag3d_exp.config.command_line import CommandLine, shell_command
from flag3d_exp.config.refusals import check_command_line
from flag3d_exp.config.signature import arguments
from flag3d_exp.errors import UserError

LIBRARIES = {"MindSpore": "mindspore", "Hydra": "hydra-core", "MLflow": "mlflow"}
WIDTH, COLUMN = 100, 34  # of a page of help, and of its left part


def answer(argv: Sequence[str], own: str) -> str | None:
    """The text to print for `--version`, `--help` with choices and completions.

    Args:
        own: the program's version.

    Returns:
        None if the command line asks nothing, or if Hydra answers it.

    Raises:
        UserError: the command line asks for help on a choice that does not exist.
    """
    if "--version" in argv:
        return version_line(own)
    line = CommandLine.parse(argv)
    if line.flags.shell_completion and any(one.startswith("query=") for one in line.overrides):
        return "\n".join(completions(os.environ.get("COMP_LINE", ""))) or None
    if line.flags.help:
        check_command_line(list(argv))
        return help_text(line)
    return None


def version_line(own: str) -> str:
    """The versions of the program, of Python and of the libraries that matter most."""
    found = [f"flag3d_exp {own}", f"Python {python_version()}"]
    for name, package in LIBRARIES.items():
        try:
            found.append(f"{name} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def help_text(line: CommandLine) -> str | None:
    """The settings of the choices that a command line with `--help` names; None without any.

    Args:
        line: its choices are known to exist.
    """
    folders = [CONF, *([Path(line.flags.config_dir)] if line.flags.config_dir else [])]
    parts = []
    for group, override in line.by_key.items():
        choice = None if override.is_sweep_override() else line.text(group)
        paths = [folder / group / f"{choice}.yaml" for folder in folders]
        if choice is not None and (path := next(filter(Path.is_file, paths), None)):
            parts.append(choice_help(group, path))
    if not parts:
        return None
    command = [*line.config_flags, *line.overrides]
    last = (
        "All settings of the run, with their values:\n"
        f"  {shell_command([*command, '--cfg', 'job'])}\n"
        f"All groups and choices:\n  {shell_command(['--help'])}"
    )
    return "\n\n".join([*parts, last])


def choice_help(group: str, path: Path) -> str:
    """A description of a choice and, one line each, its settings with value and meaning."""
    if group in WHOLE:
        return f"{group}={path.stem}\n\n{path.read_text(encoding='utf-8').rstrip()}"
    choices = {one.stem: read(one) for one in sorted(path.parent.glob("*.yaml"))}
    choice = choices[path.stem]
    lines = [textwrap.fill(f"{group}={choice.name}: {choice.about}", WIDTH), ""]
    for name, (value, _) in choice.settings.items():
        shown = value if "\n" not in value else "..."
        left = f"  {group}.{name}={shown}"
        text = meaning(name, choice, choices)
        if len(left) >= COLUMN - 1 and text:
            lines.append(left)
            left = ""
        indented = textwrap.fill(
            text, WIDTH, initial_indent=left.ljust(COLUMN), subsequent_indent=" " * COLUMN
        )
        lines.append(indented if text else left)
    return "\n".join(lines).rstrip()


def completions(line: str) -> list[str]:
    """`key=value` for each accepted value of the setting at the end of a command line.

    Args:
        line: a command line up to the cursor.

    Returns:
        An empty list if the line does not end in a setting, or its values can't be listed.
    """
    *before, word = line.split(" ")
    key, given, _ = word.partition("=")
    parent, _, name = key.rpartition(".")
    if not given or not parent:
        return []
    lines = [one for one in before[1:] if "=" in one and not one.startswith("-")]
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("config", lines)
        target = OmegaConf.select(cfg, f"{parent}._target_")
        argument = (arguments(str(target)) or {}).get(name)
    except (UserError, HydraException, OmegaConfBaseException, LookupError):
        return []
    annotation = argument.annotation if argument is not None else None
    values = accepted_values(annotation) if annotation is not None else []
    return [one for value in values if (one := f"{key}={value}").startswith(word)]


def accepted_values(annotation: ast.expr) -> list[str]:
    """The values that an annotation lists, as on a command line; empty if it lists none."""
    match annotation:
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            one, other = accepted_values(left), accepted_values(right)
            return [*one, *other] if one and other else []
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=elements)):
            return [str(ast.literal_eval(element)) for element in elements]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=element):
            return [str(ast.literal_eval(element))]
        case ast.Name(id="bool"):
            return ["true", "false"]
        case ast.Constant(value=None):
            return ["null"]
    return []
