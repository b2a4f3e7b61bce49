"""Names in figures: text, never formulas, in letters that a font on this machine can draw.

A figure is made within `lettering()`, where matplotlib takes `$` for a dollar sign and may draw
with the fonts below. Names that users chose go through `legible` on their way into a figure.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogFormatter

from flag3d_exp.errors import printable

log = logging.getLogger(__name__)

# Fonts of many scripts, the Chinese, Japanese and Korean ones among them; the first that are there.
WIDE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR"),
    *("Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "AR PL UMing CN", "Microsoft YaHei", "SimHei"),
    *("SimSun", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "Arial Unicode MS"),
    "Unifont",
)


@contextmanager
def lettering() -> Iterator[None]:
    """A block, or a function, that makes a figure; see the module."""
    with matplotlib.rc_context(_settings()):
        yield


def legible(text: str) -> str:
    r"""The text as a figure can show it: without control characters, and none of it as empty boxes.

    A letter that no font here has becomes its number, such as `\u6df1`; that is said once.
    """
    text = printable(text)
    if text.isascii():
        return text
    known = _letters(tuple(_families()))
    if any(ord(letter) not in known for letter in text):
        known = known | _letters_of_new_fonts()
        matplotlib.rcParams.update(_settings())
    missing = [letter for letter in text if ord(letter) not in known]
    if missing:
        _warn()
    for letter in missing:
        text = text.replace(letter, letter.encode("unicode_escape").decode())
    return text


def plain_numbers(axes: Axes) -> None:
    """Write a logarithmic axis without formulas, which `lettering` would show as they are typed."""
    for axis in (axes.xaxis, axes.yaxis):
        for kind in ("major", "minor"):
            if isinstance(getattr(axis, f"get_{kind}_formatter")(), LogFormatter):
                getattr(axis, f"set_{kind}_formatter")(_number if kind == "major" else _nothing)


_number = FuncFormatter(lambda value, _: f"{value:g}")
_nothing = FuncFormatter(lambda *_: "")


def _settings() -> dict[Any, Any]:
    return {"text.parse_math": False, "font.family": _families()}


def _families() -> list[str]:
    installed = set(font_manager.fontManager.get_font_names())
    return ["sans-serif", *(name for name in WIDE_FONTS if name in installed)]


@cache
def _letters(families: tuple[str, ...]) -> set[int]:
    """The characters that one of the fonts has."""
    letters: set[int] = set()
    for name in families:
        path = font_manager.findfont(font_manager.FontProperties(family=[name]))
        letters |= set(font_manager.get_font(path).get_charmap())
    return letters


@cache
def _letters_of_new_fonts() -> set[int]:
    """The characters of fonts that were installed after matplotlib had listed the fonts."""
    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in listed:
            with suppress(RuntimeError, OSError, KeyError, ValueError):  # a font of another kind
                font_manager.fontManager.addfont(path)
    return _letters(tuple(_families()))


@cache
def _warn() -> None:
    log.warning(
        "No font on this machine has some letters of the names in the figures; they are drawn as "
        "numbers, such as \\u6df1. Noto Sans CJK is a font with Chinese, Japanese and Korean ones."
    )
