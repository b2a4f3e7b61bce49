"""Every use of Hydra's private interface, each behind one function.

`tests/config/test_hydra_adapter.py` tests each function. After an upgrade of Hydra it shows which
function no longer does what its docstring says.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from hydra._internal.grammar.utils import escape_special_characters
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode

from flag3d_exp.config.checks import one_line
from flag3d_exp.errors import UserError

SWITCHES = ("help", "hydra_help", "resolve", "run", "multirun", "shell_completion")
FLAGS = ("cfg", "package", "config_path", "config_name", "config_dir", "experimental_rerun", "info")


def parse_arguments(argv: Sequence[str]) -> Namespace:
    """The flags of a command line, and its `overrides` as a list of texts.

    Raises:
        UserError: an unknown flag, or one without its value.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message} (settings are `key=value`; `--help` lists groups and flags).")

    parser.error = refuse
    return parser.parse_intermixed_args(list(argv))


def flag_words(arguments: Namespace) -> list[str]:
    """The flags of `parse_arguments` as words of a command line, without overrides."""
    switches = [f"--{name.replace('_', '-')}" for name in SWITCHES if getattr(arguments, name)]
    values = {name: getattr(arguments, name) for name in FLAGS}
    return switches + [
        f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None
    ]


def parse_overrides(lines: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Overrides parsed by Hydra's grammar.

    Args:
        loader: expands `glob(...)`; without one a glob stays unexpanded.

    Raises:
        UserError: a text is not an override; the message names it.
    """
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides(list(lines))
    except HydraException as error:
        given = f"`{error.override}`: " if isinstance(error, OverrideParseException) else ""
        reason = one_line(error).partition(" See https")[0]
        if reason.startswith("LexerNoViableAlt"):
            reason = "it has a special character that needs quotes"
        raise UserError(
            f"{given}{reason} (settings are `key=value`; a text with spaces, commas or brackets is "
            "`\"key='a text'\"` in a shell)."
        ) from error


def quoted_text(text: str) -> str:
    """A text in double quotes, as Hydra's grammar reads it back."""
    return QuotedString(text, Quote.double).with_quotes()


def key_text(key: str) -> str:
    """A key of a dictionary as an override writes it.

    The grammar has no quotes for keys. So a key can't have quotes or letters beyond ASCII, and
    `null`, `true` and numbers are not read as texts.
    """
    return escape_special_characters(key)


def value_text(value: object) -> str:
    """A parsed value as an override writes it, with its original quotes."""
    return Override._get_value_element_as_str(value)  # type: ignore[arg-type]


@contextmanager
def known_mode(mode: RunMode | None) -> Iterator[None]:
    """Within it, Hydra takes this for the `hydra.mode` of what it runs.

    Without it, Hydra composes each run twice, first only to read its mode.
    """
    original = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: mode
    try:
        yield
    finally:
        Hydra.get_mode = original


def config_loader() -> ConfigLoader:
    """The loader of the current Hydra instance."""
    return GlobalHydra.instance().config_loader()
