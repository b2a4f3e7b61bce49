"""The files of conf/ as documentation: the settings of each choice and what their comments say."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flag3d_exp.config.checks import PACKAGE
from flag3d_exp.config.signature import Argument, arguments

WHOLE = ("experiment", "sweep", "debug")  # groups whose files set other groups
GLOBAL = "# @package _global_"
UNSHOWN = ("defaults", "_target_", "_partial_")


@dataclass(frozen=True)
class Choice:
    """One file of a group.

    Args:
        about: its head comment.
        defaults: entries of its defaults list.
        target: the class or function whose arguments are the settings; None if a file in its
            defaults list names it.
        settings: source text and comment of each, by name; `affine.rotation` within an object.
        objects: the targets of the objects within the choice, by name.
    """

    name: str
    about: str
    defaults: list[str | dict[str, str]]
    target: str | None
    settings: dict[str, tuple[str, str]]
    objects: dict[str, str] = field(default_factory=dict)


def read(path: Path) -> Choice:
    """A file of a group."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    head = [line.lstrip("# ") for line in lines[: _first(lines)] if "@package" not in line]
    tree, content = yaml.compose(text), yaml.safe_load(text)
    group = path.parent.name
    if lines[0] == GLOBAL and group not in WHOLE:  # the file also sets other groups
        others = [key for key in content if key not in (group, "defaults")]
        head += [
            f"It sets {key}.{name}={value}."
            for key in others
            for name, value in content[key].items()
        ]
        tree = next(value for key, value in tree.value if key.value == group)
        content = {"defaults": content.get("defaults", [])} | content[group]
    settings = {}
    for name, key, value in _entries(tree):
        source = text[value.start_mark.index : value.end_mark.index].strip()
        rest = lines[key.start_mark.line][key.end_mark.column :]
        if isinstance(value, yaml.SequenceNode) and not value.flow_style:
            source = f"[{value.value[0].value}, ...]"
        elif not isinstance(value, yaml.MappingNode) or value.flow_style:
            rest = lines[value.end_mark.line][value.end_mark.column :]
        comment = re.search(r"(?:^|\s)#\s*(.*)", rest)
        settings[name] = (source, comment[1] if comment else "")
    entries = [entry for entry in content.get("defaults", []) if entry != "_self_"]
    defaults = [one.split("@")[0] if isinstance(one, str) else one for one in entries]
    nested = {
        name: value["_target_"]
        for name, value in content.items()
        if isinstance(value, dict) and "_target_" in value
    }
    return Choice(path.stem, " ".join(head), defaults, content.get("_target_"), settings, nested)


def _entries(tree: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted name, key and value of each setting, including those of objects in the choice."""
    if not isinstance(tree, yaml.MappingNode):
        return
    for key, value in tree.value:
        block = isinstance(value, yaml.MappingNode) and not value.flow_style
        if block and not prefix and _is_object(value, tree):
            yield from _entries(value, f"{key.value}.")
        elif key.value not in UNSHOWN:
            yield f"{prefix}{key.value}", key, value


def _is_object(value: yaml.MappingNode, tree: yaml.MappingNode) -> bool:
    """Whether a mapping describes an object, or changes one of the choice that it starts from."""
    within = {key.value for key, _ in value.value}
    return "_target_" in within or "_target_" not in {key.value for key, _ in tree.value}


def schema(choice: Choice, choices: dict[str, Choice]) -> dict[str, Argument]:
    """The arguments that a choice's settings become; empty for a target outside the package."""
    target = _target(choice, choices)
    if target is None or not target.startswith(("flag3d_exp.", "hydra_plugins.")):
        found: dict[str, Argument] = {}
        for name, own in objects(choice, choices).items():
            found |= {f"{name}.{key}": one for key, one in (arguments(own) or {}).items()}
        return found
    return arguments(target) or {}


def objects(choice: Choice, choices: dict[str, Choice]) -> dict[str, str]:
    """The targets of the objects within a choice and within the one that it starts from."""
    bases = [entry for entry in choice.defaults if isinstance(entry, str)]
    return (objects(choices[bases[0]], choices) if bases else {}) | choice.objects


def meaning(name: str, choice: Choice, choices: dict[str, Choice]) -> str:
    """What a setting means: its comment in this or another file, or its argument's text."""
    value, comment = choice.settings[name]
    if comment:
        return comment
    if source := re.fullmatch(r"\$\{([\w.]+)\}", value):
        return f"that of `{source[1]}`"
    target = _target(choice, choices)
    alike = [c for c in choices.values() if _target(c, choices) == target]
    for other in [*alike, *choices.values()]:
        if comment := other.settings.get(name, ("", ""))[1]:
            return comment
    return next((text for key, text in argument_texts(target or "") if key == name), "")


def argument_texts(target: str) -> list[tuple[str, str]]:
    """Name and text of each argument that the docstring of the dotted path `target` explains."""
    module, _, name = target.rpartition(".")
    path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        return []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    node = next((n for n in tree.body if getattr(n, "name", None) == name), None)
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return []
    section = (ast.get_docstring(node) or "").partition("Args:\n")[2].split("\n\n")[0]
    found = re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return [(one, " ".join(text.split())) for names, text in found for one in names.split(", ")]


def _target(choice: Choice, choices: dict[str, Choice]) -> str | None:
    if choice.target is not None:
        return choice.target
    bases = [entry for entry in choice.defaults if isinstance(entry, str)]
    return _target(choices[bases[0]], choices) if bases else None


def _first(lines: Sequence[str]) -> int:
    """The number of the first line that is not a comment."""
    return next(number for number, line in enumerate(lines) if not line.startswith("#"))
