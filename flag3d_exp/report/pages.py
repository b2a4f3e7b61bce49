"""HTML pages of the templates beside this module, in which every text is only text."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from flag3d_exp.errors import visible


def page(template: str, **values: Any) -> str:
    """The page that the template makes of the values.

    Texts are escaped, and so is what `tojson` puts into a script; control characters and marks
    that turn the direction of writing are shown as in a Python literal.
    """
    return TEMPLATES.get_template(template).render(values)


def _shown(value: Any) -> Any:
    if not isinstance(value, str) or hasattr(value, "__html__"):  # what a filter has escaped
        return value
    return "\n".join(map(visible, value.split("\n")))


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    finalize=_shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
