"""A report as blocks of text, tables and figures, and these as one HTML page or as Markdown."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; the first column is left-aligned."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure, embedded in the page; `wide` ones take the page's width."""

    figure: Figure
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Code:
    """Text to copy; folded away under its caption if `folded`."""

    text: str
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Markup:
    """HTML that only the page shows, such as an animation."""

    html: str


Block = Text | Table | Picture | Code | Markup


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: list[Block] = field(default_factory=list)


STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1b1f24;
  max-width: 1180px; margin: 2rem auto; padding: 0 1rem; background: #fff; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; }
h2 { font-size: 1.25rem; border-bottom: 1px solid #ccd3da; padding-bottom: .2rem;
  margin-top: 2.4rem; }
nav a { margin-right: 1.1em; white-space: nowrap; }
a { color: #0057a0; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
caption { caption-side: top; text-align: left; color: #55606b; padding-bottom: .25rem; }
th, td { padding: .22rem .5rem; text-align: right; border-bottom: 1px solid #e3e7eb; }
th { border-bottom: 2px solid #8a949e; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 7.5rem; }
tr.reference td { color: #55606b; font-style: italic; }
figure { margin: 1rem 0; display: inline-block; vertical-align: top; }
figure img { max-width: 100%; height: auto; }
figure.wide { display: block; }
figcaption { color: #55606b; font-size: .88rem; }
pre { background: #f4f6f8; padding: .7rem; overflow-x: auto; font-size: .85rem; }
.scroll { overflow-x: auto; }
.skeletons { display: flex; flex-wrap: wrap; gap: .8rem; }
.skeletons figure { width: 205px; margin: 0; overflow-wrap: anywhere; }
.skeletons figcaption { font-size: .8rem; }
.skeletons canvas { border: 1px solid #d5dae0; width: 205px; height: 205px; }
@media print { body { max-width: none; margin: 0; font-size: 11px; }
  nav { display: none; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
"""


def to_html(title: str, lead: str, sections: Sequence[Section]) -> str:
    """One page that needs nothing but itself."""
    body = []
    links = []
    for number, section in enumerate(sections):
        links.append(f'<a href="#s{number}">{html.escape(section.title)}</a>')
        body.append(f'<h2 id="s{number}">{html.escape(section.title)}</h2>')
        body += [_block_html(block) for block in section.blocks]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p>",
            f"<nav>{' '.join(links)}</nav>",
            *body,
            "</body></html>",
        ]
    )


def to_markdown(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page's text and tables; figures and animations are left to the page."""
    parts = [f"# {title}", lead]
    for section in sections:
        blocks = [_block_markdown(block) for block in section.blocks]
        if any(blocks):
            parts += [f"## {section.title}", *(block for block in blocks if block)]
    return "\n\n".join(parts) + "\n"


def _block_html(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{html.escape(text)}</p>"
        case Table(header, rows, caption):
            head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
            lines = [_row_html(row) for row in rows]
            heading = f"<caption>{html.escape(caption)}</caption>" if caption else ""
            return (
                f'<div class="scroll"><table>{heading}<thead><tr>{head}</tr></thead>'
                f"<tbody>{''.join(lines)}</tbody></table></div>"
            )
        case Picture(figure, caption, wide):
            kind = ' class="wide"' if wide else ""
            return (
                f'<figure{kind}><img alt="{html.escape(caption)}" src="{_data_url(figure)}">'
                f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            )
        case Code(text, caption, folded):
            code = f"<pre>{html.escape(text)}</pre>"
            if folded:
                return f"<details><summary>{html.escape(caption)}</summary>{code}</details>"
            return (f"<p>{html.escape(caption)}</p>" if caption else "") + code
        case Markup(markup):
            return markup


def _row_html(row: Sequence[str]) -> str:
    kind = ' class="reference"' if row[0].startswith("published") else ""
    return f"<tr{kind}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"


def _block_markdown(block: Block) -> str:
    match block:
        case Text(text):
            return text
        case Table(header, rows, caption):
            lines = [f"{caption}\n"] if caption else []
            lines.append("| " + " | ".join(header) + " |")
            lines.append("|" + " --- |" + " ---: |" * (len(header) - 1))
            lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
            return "\n".join(lines)
        case Code(text, caption):
            return (f"{caption}\n\n" if caption else "") + f"```\n{text.rstrip()}\n```"
        case _:
            return ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _data_url(figure: Figure) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
