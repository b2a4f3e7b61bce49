"""Text in figures: without mathtext, and only with characters that an installed font has.

Figures are made within `lettering()`, in which matplotlib draws `$` as a dollar sign and may use
the fonts below. Names from users are passed through `legible` before they are drawn.
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

# Fonts with many scripts, including Chinese, Japanese and Korean; the first installed are used.
WIDE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK TC", "Noto Sans CJK KR"),
    *("Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "AR PL UMing CN", "Microsoft YaHei", "SimHei"),
    *("SimSun", "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "Arial Unicode MS"),
    "Unifont",
)


@contextmanager
def lettering() -> Iterator[None]:
    """Context manager or decorator for code that makes a figure; see the module's docstring."""
    with matplotlib.rc_context(_settings()):
        yield


def legible(text: str) -> str:
    r"""The text without control characters and without characters that no installed font has.

    The latter are replaced by their code, such as `\u6df1`, with a single warning.
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
    """Label a logarithmic axis without mathtext, which `lettering` would not render."""
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
    """The characters that any of the fonts has."""
    letters: set[int] = set()
    for name in families:
        path = font_manager.findfont(font_manager.FontProperties(family=[name]))
        letters |= set(font_manager.get_font(path).get_charmap())
    return letters


@cache
def _letters_of_new_fonts() -> set[int]:
    """The characters of fonts that were installed after matplotlib made its list of fonts."""
    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in listed:
            with suppress(RuntimeError, OSError, KeyError, ValueError):  # a font of another kind
                font_manager.fontManager.addfont(path)
    return _letters(tuple(_families()))


@cache
def _warn() -> None:
    log.warning(
        "No installed font has some characters of the names in the figures; their codes are drawn "
        "instead, such as \\u6df1. Install Noto Sans CJK for Chinese, Japanese and Korean."
    )
