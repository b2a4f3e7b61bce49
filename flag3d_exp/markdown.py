r"""Markdown with names as plain text: escaped when written, unescaped for a terminal.

Only characters that a renderer would read as markup are escaped, so the files stay readable:
`snake_case` and `[97.1, 98.2]` stay, `<script>` becomes `&lt;script>`.
"""

import re
from collections.abc import Sequence

from flag3d_exp.errors import visible

PUNCTUATION = r"[!-/:-@\[-`{-~]"
MARKUP = re.compile(
    rf"""\\(?={PUNCTUATION})         # a backslash that would escape what follows
    | [`*$|~]
    | (?<![^\W_])_ | _(?![^\W_])     # an underscore within a word is not markup
    | \](?=[(\[:])                   # the end of a link's text
    | ^> | ^[#+-](?=[\s#+-]|$)       # a quotation, a heading, a list, a rule
    """,
    re.VERBOSE,
)
NUMBER = re.compile(r"^(\d+)([.)])(?=\s|$)")  # of an item of a list
ENTITIES = {"&": "&amp;", "<": "&lt;"}
ENTITY = re.compile(r"&(?=#?\w+;)|<(?=[A-Za-z/!?])")
CELL_END = re.compile(r"(?<!\\)((?:\\\\)*)\|")


def escaped_line(text: str) -> str:
    """A text as one line that a renderer shows as it is."""
    marked = MARKUP.sub(lambda found: f"\\{found[0]}", visible(text.replace("\n", " ")))
    marked = NUMBER.sub(r"\1\\\2", marked)
    return ENTITY.sub(lambda found: ENTITIES[found[0]], marked)


def unescaped_line(line: str) -> str:
    """What a renderer shows of a line with `escaped` texts."""
    plain = re.sub(rf"\\({PUNCTUATION})", r"\1", line)
    return plain.replace("&lt;", "<").replace("&amp;", "&")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts; the first column is left-aligned, the others right-aligned."""
    lines = [list(map(escaped_line, header)), ["---", *["---:"] * (len(header) - 1)]]
    lines += [list(map(escaped_line, row)) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def cells(line: str) -> list[str]:
    """The plain texts in a line of a table."""
    parts = CELL_END.sub("\\1\n", line).split("\n")
    return [unescaped_line(cell.strip()) for cell in parts[1:-1]]


def code(text: str) -> str:
    """A fenced code block; the fence is longer than any fence in the text."""
    text = "\n".join(map(visible, text.split("\n")))
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}"
