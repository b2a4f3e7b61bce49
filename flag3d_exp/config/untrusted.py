"""The rule for configurations that are read from files: which objects and values they may name.

A run folder, a checkpoint, a study or an export may come from anywhere, so its content is data.
Accepted objects (`_target_`): objects of this package that the files of `conf/` name for the same
key, and Optuna's samplers and pruners in a sweeper. Accepted references: to one other value,
`${dataset.layout}`, or to a list of plain values, `${dataset.classes}`.
Everything else, such as another class or `${oc.env:HOME}`, is refused. The exception is a value
that the user's own configuration, from the command line and the folders it names, has for the same
key.
"""

import re
import reprlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from hydra.core.override_parser.types import Override, QuotedString

from flag3d_exp.config.checks import CONF, top_level
from flag3d_exp.config.hydra_adapter import parse_overrides
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.moved_settings import modern, modern_overrides
from flag3d_exp.reading.settings import (
    REFERENCE,
    leaves,
    referred_list,
    referred_value,
    selected_value,
)
from flag3d_exp.reading.text import parsed_yaml

Plain = dict[str, Any]
TARGET = "_target_"
# Keys with a special meaning in Hydra, which do more than set a value.
SPECIAL = ("_args_", "_recursive_", "_convert_", "_self_", "_group_", "_name_", "defaults")
OPTUNA = re.compile(r"optuna\.(samplers|pruners)\.[A-Za-z]+")
KEY = re.compile(r"[+~]{0,2}[a-zA-Z_]\w*(\.[\w-]+)*")
MAX_TEXT, MAX_OVERRIDES = 256 << 10, 8_000  # characters
MAX_LISTED = 10_000  # values of all references to lists together


def recorded_values(text: str, file: str) -> Plain:
    """The values of a configuration from a file; `check_values` has yet to check them.

    Settings that have been renamed since the file was written get their current names.

    Args:
        text: YAML.
        file: the file that the text is from, for messages.

    Raises:
        UserError: the text is not a mapping of settings.
    """
    try:
        if len(text) > MAX_TEXT:
            raise Malformed(f"it is longer than {MAX_TEXT >> 10} kB")
        values = parsed_yaml(text) if text else {}
    except Malformed as error:
        raise UserError(f"{file}: its configuration can't be read: {error}.") from error
    if not isinstance(values, dict):
        raise UserError(f"{file}: its configuration must map groups to their settings.")
    for key in values:
        if key not in top_level():
            raise UserError(f"{file}: its configuration has `{key}`, which is not a setting.")
    return modern(values)


def check_values(values: Plain, file: str, own: Callable[[], Plain] | None = None) -> None:
    """Refuse values from a file that are more than data; see the module.

    Args:
        values: by key, nested.
        file: the file that the values are from, for messages.
        own: returns the configuration that the user composed, unresolved; called only if some value
            needs it.

    Raises:
        UserError: names the file and the key.
    """
    suspect = list(_suspects("", values))
    known = own() if suspect and own is not None else {}
    for path, value, refusal in suspect:
        if value is None or selected_value(known, path) != value:
            raise UserError(f"{file}: {refusal}")
    num_listed = 0
    for path, value in leaves("", values):
        target = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if (
            target
            and selected_value(values, target[1]) is not None
            and referred_value(value, values) == value
        ):
            members = referred_list(value, values)
            num_listed += len(members or ())
            if members is None or num_listed > MAX_LISTED:
                raise UserError(
                    f"{file}: `{path}={value}` must refer to one value, or to a list of plain ones."
                )


def checked_overrides(lines: Any, file: str, given: Sequence[str] = ()) -> list[str]:
    """The overrides that a file holds, without those whose key is also on the command line.

    Args:
        lines: the content of the file, not yet checked.
        file: the file that the overrides are from, for messages.
        given: the keys on the command line.

    Raises:
        UserError: an override is more than a choice or a value; names the file and the override.
    """
    if not isinstance(lines, list) or sum(len(str(line)) for line in lines) > MAX_OVERRIDES:
        raise UserError(f"{file}: its overrides must be a list of at most {MAX_OVERRIDES} letters.")
    for line in lines:
        if not isinstance(line, str) or not KEY.fullmatch(line.partition("=")[0].rstrip()):
            raise UserError(f"{file}: {reprlib.repr(line)} is no override of a setting.")
    try:
        parsed = parse_overrides(modern_overrides(lines))
    except (RecursionError, ValueError) as error:  # ValueError: a number of too many digits
        raise UserError(f"{file}: its overrides can't be read: {error}.") from error
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    kept = [override for override in parsed if override.key_or_group not in given]
    for override in kept:
        _check_override(override, file)
    return [str(override.input_line) for override in kept]


def check_objects(key: str, values: Any, file: str) -> None:
    """Refuse an object's description, such as `hydra.sweeper.pruner`, with an unknown `_target_`.

    Raises:
        UserError: names the file and the key.
    """
    for _, _, refusal in _suspects(key, values):
        raise UserError(f"{file}: {refusal}")
    for path, value in leaves(key, values):
        # Lists that refer to lists can expand to more values than fit into memory.
        if path != key and isinstance(value, str) and "${" in value:
            raise UserError(f"{file}: {_refusal_to_resolve(path, value)}")


def _check_override(override: Override, file: str) -> None:
    line, key = override.input_line, override.key_or_group
    if key.split(".")[0] not in top_level() - {"hydra"}:
        raise UserError(f"{file}: `{line}` is not a setting of a run, and is not accepted.")
    if override.is_sweep_override():
        raise UserError(f"{file}: `{line}` must be one value.")
    try:
        value = plain_value(override)
    except TypeError as error:
        raise UserError(f"{file}: `{line}` must be a plain value.") from error
    check_objects(key, value, file)


def plain_value(override: Override) -> Any:
    """The value of an override in plain types.

    Raises:
        TypeError: it has no plain value, but for example a sweep.
    """

    def plain(value: Any) -> Any:
        match value:
            case QuotedString():
                return value.text
            case None | bool() | int() | float() | str():
                return value
            case list():
                return [plain(one) for one in value]
            case dict():
                return {str(plain(key)): plain(one) for key, one in value.items()}
        raise TypeError(type(value).__name__)

    return plain(override.value())


def _suspects(path: str, values: Any) -> Iterator[tuple[str, Any, str]]:
    """(path, value, reason of refusal) of values that only the user's configuration may have."""
    for name, value in leaves(path, values):
        parts = name.split(".")
        if parts[-1] == TARGET:
            owner = name.removesuffix(f".{TARGET}")
            if not _is_known(owner, value):
                yield name, value, _unknown_object(name, value)
        elif special := next((part for part in parts if part in SPECIAL), None):
            yield name, value, f"`{name}` is not accepted from a file, because of `{special}`."
        elif isinstance(value, str) and "${" in value and not REFERENCE.fullmatch(value):
            yield name, value, _refusal_to_resolve(name, value)


def _is_known(owner: str, target: Any) -> bool:
    in_sweeper = owner.startswith("hydra.sweeper.") and OPTUNA.fullmatch(str(target)) is not None
    return in_sweeper or target in known_targets().get(owner, frozenset())


def _unknown_object(path: str, value: Any) -> str:
    refusal = f"`{path}={reprlib.repr(value)}` is not accepted from a file, which may name "
    group = path.partition(".")[0]
    if path.startswith("hydra.sweeper."):
        return f"{refusal}Optuna's samplers and pruners there."
    if not known_targets().get(group):
        return f"{refusal}no object there."
    return (
        f"{refusal}no object but one of conf/{group}. A class of your own must be named on the "
        f"command line as well, by `--config-dir` and `{group}=...`, or by `{path}=...`."
    )


def _refusal_to_resolve(path: str, value: str) -> str:
    return (
        f"`{path}={reprlib.repr(value)}` is not resolved, because it is from a file; "
        f"give `{path}=...` on the command line."
    )


@cache
def known_targets() -> dict[str, frozenset[str]]:
    """Key of an object -> the `_target_`s that the package's `conf/` has for it."""
    found: dict[str, set[str]] = {}
    for file in sorted(CONF.rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        group = ".".join(file.relative_to(CONF).parent.parts)
        is_global = text.startswith("# @package _global_") or not group
        for path, value in leaves("" if is_global else group, parsed_yaml(text) or {}):
            owner, _, name = path.rpartition(".")
            if name == TARGET:
                found.setdefault(owner, set()).add(str(value))
    return {key: frozenset(targets) for key, targets in found.items()}
