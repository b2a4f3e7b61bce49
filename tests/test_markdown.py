"""What a renderer of Markdown shows of escaped names: the names."""

from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flag3d_exp import markdown
from flag3d_exp.errors import visible

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
NAMES = st.text(st.sampled_from("ab1 \\`*_{}[]()<>#+-.!|$~&;:/\"'=\u6df1"), min_size=1, max_size=12)


class Shown(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(NAMES)
@example("<script>alert(1)</script>")
@example("[a](javascript:alert)")
@example("[a]: http://b")
@example("a\\|b")
@example("&lt;b&gt; &#60;")
def test_a_name_is_shown_as_it_is(name):
    name = " ".join(name.split())  # a renderer joins spaces
    paragraph = Shown(RENDERER.render(markdown.escaped_line(name)))
    assert paragraph.text.strip() == name
    assert set(paragraph.tags) <= {"p"}
    assert markdown.unescaped_line(markdown.escaped_line(name)) == name


@given(NAMES, NAMES)
def test_a_cell_is_shown_as_it_is_and_read_back(first, second):
    first, second = " ".join(first.split()), " ".join(second.split())
    text = markdown.table(["run", "n"], [[first, second]])
    shown = Shown(RENDERER.render(text))
    assert [text for text in shown.text.split("\n") if text] == [
        "run",
        "n",
        *filter(None, (first, second)),
    ]
    assert set(shown.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert markdown.cells(text.splitlines()[2]) == [first, second]


@pytest.mark.parametrize(
    "name", ["snake_case", "[97.1, 98.2]", "p < 0.05", "R&D", "a-b", "\u6df1\u8e72"]
)
def test_what_no_renderer_takes_for_markup_stays_as_it_is(name):
    assert markdown.escaped_line(name) == name


def test_dollars_make_no_formula_on_pages_that_know_them():
    assert markdown.escaped_line("$x$") == r"\$x\$"


@given(st.text(st.sampled_from("`~a\n <"), max_size=20))
def test_a_block_of_code_ends_where_its_text_does(text):
    tokens = RENDERER.parse(markdown.code(text) + "\n\nend")
    assert [token.type for token in tokens] == [
        "fence",
        "paragraph_open",
        "inline",
        "paragraph_close",
    ]
    assert tokens[0].content.rstrip() == text.rstrip()


def test_control_characters_are_written_out():
    assert markdown.escaped_line("\x1b[2J") == visible("\x1b[2J") == r"\x1b[2J"
