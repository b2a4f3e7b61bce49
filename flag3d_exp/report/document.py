"""A report as blocks of text, tables and figures, and its rendering as HTML or Markdown."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from matplotlib.figure import Figure

from flag3d_exp import files, markdown
from flag3d_exp.report.pages import page


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    template: ClassVar = "text.html"

    def markdown(self) -> str:
        """The paragraph."""
        return markdown.escaped_line(self.text)


@dataclass(frozen=True)
class Table:
    """A table with a header; the first column is left-aligned."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    template: ClassVar = "table.html"

    def markdown(self) -> str:
        """The table below its caption."""
        table = markdown.table(self.header, self.rows)
        return f"{markdown.escaped_line(self.caption)}\n\n{table}" if self.caption else table


@dataclass(frozen=True)
class Picture:
    """A figure that is embedded in the page; `wide` figures have the page's width."""

    figure: Figure
    caption: str
    wide: bool = False
    template: ClassVar = "picture.html"

    def data_url(self) -> str:
        """The figure as a PNG data URL."""
        data = io.BytesIO()
        files.draw_figure(data, self.figure, dpi=110, format="png")
        return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()

    def markdown(self) -> str:
        """Nothing."""
        return ""


@dataclass(frozen=True)
class Code:
    """Text to copy; collapsed under its caption if `folded`."""

    text: str
    caption: str = ""
    folded: bool = False
    template: ClassVar = "code.html"

    def markdown(self) -> str:
        """The text in a block below its caption."""
        code = markdown.code(self.text)
        return f"{markdown.escaped_line(self.caption)}\n\n{code}" if self.caption else code


@dataclass(frozen=True)
class Animations:
    """Animated skeletons side by side, each as JSON text with a caption; see `animation`."""

    clips: Sequence[tuple[str, str]]
    template: ClassVar = "animations.html"

    def markdown(self) -> str:
        """Nothing."""
        return ""


Block = Text | Table | Picture | Code | Animations


@dataclass(frozen=True)
class Section:
    """A heading and the blocks under it."""

    title: str
    blocks: list[Block] = field(default_factory=list)


def to_html(title: str, lead: str, sections: Sequence[Section]) -> str:
    """One self-contained HTML page."""
    return page("report.html", title=title, lead=lead, sections=sections)


def to_markdown(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page's text and tables as Markdown, without figures and animations."""
    parts = [f"# {markdown.escaped_line(title)}", markdown.escaped_line(lead)]
    for section in sections:
        blocks = [text for block in section.blocks if (text := block.markdown())]
        if blocks:
            parts += [f"## {markdown.escaped_line(section.title)}", *blocks]
    return "\n\n".join(parts) + "\n"
