"""Every group, choice and setting of conf/ as Markdown, read when the site is built."""

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.choices import WHOLE, Choice, meaning, read, schema
from flag3d_exp.config.signature import Argument, description

GROUPS = (
    "task",
    "dataset",
    "stream",
    "pipeline",
    "augment",
    "model",
    "problem",
    "optimizer",
    "scheduler",
    "device",
    "tracking",
    "hydra/sweeper",
    "hydra/sweeper/sampler",
    "hydra/sweeper/pruner",
)


def reference() -> str:
    """The Markdown of all groups."""
    parts = [group_text(group) for group in GROUPS]
    for group in WHOLE:  # shown unchanged
        parts.append(f"## {group}")
        for path in sorted((CONF / group).glob("*.yaml")):
            text = path.read_text(encoding="utf-8").removeprefix("# @package _global_\n")
            parts.append(f"### {group}={path.stem}\n\n```yaml\n{text}```")
    return "\n\n".join(parts)


def group_text(group: str) -> str:
    """A group's heading and the table of each of its choices."""
    choices = {path.stem: read(path) for path in sorted((CONF / group).glob("*.yaml"))}
    parts = [f"## {group}"]
    for choice in choices.values():
        known = schema(choice, choices)
        rows = [
            f"| `{name}` | {_cell(value)} | {_accepted(known.get(name))} "
            f"| {_escaped(meaning(name, choice, choices))} |"
            for name, (value, _) in choice.settings.items()
        ]
        table = ["| setting | value | accepts | meaning |", "|---|---|---|---|", *rows]
        paragraphs = [f"### {group}={choice.name}", choice.about, *_starts_from(choice)]
        parts += [text for text in paragraphs if text] + (["\n".join(table)] if rows else [])
    return "\n\n".join(parts)


def _starts_from(choice: Choice) -> list[str]:
    lines = []
    for entry in choice.defaults:
        if isinstance(entry, str):
            lines.append(f"Starts from `{entry}`; changes:")
        else:
            for key, value in entry.items():
                group = key.removeprefix("override /").partition("@")[0]
                lines.append(f"Chooses `{group}={value}`.")
    return lines


def _accepted(argument: Argument | None) -> str:
    if argument is None or argument.annotation is None:
        return ""
    return _escaped(description(argument.annotation))


def _cell(value: str) -> str:
    return "must be given" if value == "???" else f"`{_escaped(value)}`"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")
