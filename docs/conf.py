"""Settings of Sphinx, which builds this site: `make docs`."""

import importlib.metadata
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "flag3d_exp"
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import settings  # noqa: E402

from flag3d_exp.devices.device import set_environment  # noqa: E402

set_environment()  # a quiet MindSpore

project = "flag3d_exp"
author = "The flag3d_exp developers"
project_copyright = f"2026, {author}"
release = importlib.metadata.version("flag3d-exp")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
default_role = "code"  # of `names` in docstrings
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "flag3d_exp"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"top_of_page_buttons": []}

NEED_TORCH = ("of_torch",)  # PyTorch is an extra of its own, which the site is built without


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put what is read from conf/ and from the package in place of a page's `<!-- ... -->`."""
    text = source[0].replace("<!-- settings -->", settings.reference())
    source[0] = re.sub(r"<!-- modules: ([\w/ ]+) -->", lambda m: modules(m[1].split()), text)


def modules(names: list[str]) -> str:
    """Markdown that documents modules of the package, each by its path or its folder's."""
    parts = []
    for name in names:
        path = PACKAGE / name
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]:
            if file.stem != "__init__" and file.stem not in NEED_TORCH:
                module = ".".join(file.relative_to(DOCS.parent).with_suffix("").parts)
                parts.append(f"## {module}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```")
    return "\n\n".join(parts)


def constructor(
    app: Sphinx, what: str, name: str, obj: object, options: object, given: str, returned: str
) -> tuple[str, str] | None:
    """The arguments of a cell, which MindSpore's metaclass hides behind `*args, **kwargs`.

    A protocol has none.
    """
    if what != "class" or given != "(*args, **kwargs)":
        return None
    if getattr(obj, "_is_protocol", False):
        return "", returned
    return stringify_signature(signature(obj.__init__, bound_method=True)), returned


def setup(app: Sphinx) -> None:
    """Sphinx calls this first."""
    app.connect("source-read", fill)
    app.connect("autodoc-process-signature", constructor)
