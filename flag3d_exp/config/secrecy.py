"""Masking of credentials in the command line and the configuration."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from flag3d_exp import files
from flag3d_exp.config.hydra_adapter import parse_overrides
from flag3d_exp.credentials import hidden, masked_text
from flag3d_exp.errors import UserError


def hide_in_arguments(argv: Sequence[str]) -> list[str]:
    """The command line with its URIs masked; they are kept, see `credentials`."""
    words = []
    for word in argv:
        if masked_text(word) != word:
            with suppress(UserError):  # an override that can't be parsed is refused later
                for value in _texts(parse_overrides([word])[0].value()):
                    hidden(value)
        words.append(masked_text(word))
    return words


def hide_in(config: DictConfig | ListConfig) -> None:
    """Mask the URIs in a configuration, also in resolved interpolations; keep them."""
    keys: Any = list(config) if isinstance(config, DictConfig) else range(len(config))
    for key in keys:
        with suppress(OmegaConfBaseException):  # a value that is missing or not yet known
            value: Any = config[key]
            if isinstance(value, DictConfig | ListConfig):
                hide_in(value)
            elif isinstance(value, str) and (safe := hidden(value)) != value:
                with read_write(config), open_dict(config):
                    config[key] = safe


def hide_in_files(folder: Path) -> None:
    """Mask the credentials in the files that Hydra wrote into a run folder."""
    for path in sorted(folder.glob(".hydra/*.yaml")):
        text = path.read_text(encoding="utf-8")
        if masked_text(text) != text:
            files.write_text(path, masked_text(text))


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value of an override, which may be a list, a dictionary or a sweep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
    elif hasattr(value, "list"):
        yield from _texts(value.list)
