"""Render HTML pages from `templates/`, with all values escaped."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flag3d_exp.errors import visible


def page(template: str, **values: Any) -> str:
    """The template rendered with the values.

    Texts are escaped, including the output of `tojson` in scripts. Control characters and marks of
    writing direction are shown as in a Python literal.
    """
    return TEMPLATES.get_template(template).render(values)


def _visible(value: Any) -> Any:
    if not isinstance(value, str) or hasattr(value, "__html__"):  # already escaped by a filter
        return value
    return "\n".join(map(visible, value.split("\n")))


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    finalize=_visible,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
