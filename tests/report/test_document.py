import base64
import re

import pytest
from matplotlib.figure import Figure

from flag3d_exp.report.document import (
    Code,
    Markup,
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
    Section("Words", [Text("1 < 2"), Code("python -m x", "made by"), Markup("<canvas></canvas>")]),
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
    assert "<canvas></canvas>" in page


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
    assert "| run | top-1 |\n| --- | ---: |\n| a <b> | 98.6 |\n| published: c\\|d | 1 |" in text
    assert "## Pictures" not in text
    assert "made by\n\n```\npython -m x\n```" in text
