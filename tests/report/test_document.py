import base64
import re

import pytest
from matplotlib.figure import Figure

from flag3d_exp.report.document import (
    Animations,
    Code,
    Picture,
    Section,
    Table,
    Text,
    to_html,
    to_markdown,
)

SECTIONS = [
    Section(
        "Numbers", [Table(["run", "top-1"], [["a <b>", "98.6"], ["published: c|d", "1"]], "x")]
    ),
    Section("Pictures", [Picture(Figure(figsize=(1, 1)), "a figure")]),
    Section(
        "Words", [Text("1 < 2"), Code("python -m x", "made by"), Animations([("[]", "a & b")])]
    ),
]


@pytest.fixture(scope="module")
def page() -> str:
    return to_html("Title & more", "lead", SECTIONS)


def test_the_page_loads_nothing_from_elsewhere(page):
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_what_users_wrote_is_text_not_markup(page):
    assert "a &lt;b&gt;" in page
    assert "1 &lt; 2" in page
    assert "Title &amp; more" in page
    assert "<figcaption>a &amp; b</figcaption>" in page


def test_figures_are_embedded_images_with_a_description(page):
    data = re.search(r'alt="a figure" src="data:image/png;base64,([^"]+)"', page)
    assert data is not None
    assert base64.b64decode(data[1])[:4] == b"\x89PNG"


def test_sections_are_linked(page):
    assert '<a href="#s1">Pictures</a>' in page
    assert '<h2 id="s1">Pictures</h2>' in page


def test_published_rows_look_different(page):
    assert page.count('<tr class="reference">') == 1


def test_markdown_holds_tables_and_text_but_no_empty_sections():
    text = to_markdown("Title", "lead", SECTIONS)
    table = "| run | top-1 |\n| --- | ---: |\n| a &lt;b> | 98.6 |\n| published: c\\|d | 1 |"
    assert table in text
    assert "## Pictures" not in text
    assert "made by\n\n```\npython -m x\n```" in text


def test_no_name_becomes_markup_anywhere_on_the_page():
    name = '<!--<script>alert(1)</script>\' onload="x" {{ 7 * 7 }} \x1b[2J\u202e'
    picture = Picture(Figure(figsize=(1, 1)), name)
    blocks = [Text(name), Table([name], [[name]], name), picture, Code(name, name, folded=True)]
    page = to_html(name, name, [Section(name, [*blocks, Animations([(name, name)])])])
    plain = to_html("", "", [Section("", [Text(""), Table([""], [[""]], "c"), picture])])
    assert page.count("<script") == plain.count("<script") == 1
    assert page.count("<!--") == 0
    assert 'onload="' not in page
    assert "7 * 7" in page
    assert r"\x1b[2J\u202e" in page
    assert "\x1b" not in page
