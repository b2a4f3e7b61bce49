"""Comparison of the settings of a run or sweep with those of a start that continues it.

The settings that its results depend on are stored with it: in a checkpoint, a study's storage or a
grid's folder. The device and the tracking may change from start to start.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.moved_settings import modern
from flag3d_exp.reading.settings import within_text
from flag3d_exp.reading.text import parsed_yaml

Settings = Mapping[str, Any]  # `group.key` -> a JSON value

NUM_SHOWN = 3  # of the settings that differ
FREE_GROUPS = ("tracking",)
FREE = ("dataset.path", "dataset.cache", "task.num_workers", "task.resume")  # data by their digest
DEVICE = ("device.precision", "device.tf32")  # the settings of `device` that change results
DIGEST = "dataset.path (SHA-256)"
# A resumed run must keep these: otherwise its metrics would not be comparable.
HELD_GROUPS = ("dataset", "stream", "pipeline", "augment", "model", "problem")
HELD = (DIGEST, "task.objective")


def settings(
    config: Mapping[str, Any], digest: str | Sequence[str | None] | None
) -> dict[str, Any]:
    """The settings that a run's results depend on, by `group.key`.

    Args:
        config: a composed configuration as plain values, resolved or not.
        digest: of the data file, or of each data file if there are several; None: not known.
    """
    found: dict[str, Any] = {} if digest is None else {DIGEST: digest}
    for group, node in config.items():
        if not isinstance(node, Mapping):
            found[group] = node
            continue
        paths = {f"{group}.{key}": value for key, value in node.items()}
        found |= {path: value for path, value in paths.items() if not _free(group, path)}
    return {path: within_text(value, config) for path, value in found.items()}


def check_same_run(begun: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Refuse to continue a run with other data, another model or another objective.

    Otherwise metrics of different data or models would decide which epoch is best. The settings of
    the training may change.

    Args:
        begun, now: the meta of its checkpoint, and the meta that its next checkpoint would have.

    Raises:
        UserError: names the first settings that differ.
    """
    what = f"The run in `{folder}`"
    check_same(
        _kept_settings(begun),
        _kept_settings(now),
        what,
        "`task.init_from` starts another from its weights",
    )


def _kept_settings(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run keeps when it is resumed."""
    try:
        config = parsed_yaml(meta.get("config", ""))
    except Malformed as error:
        raise UserError(f"the checkpoint's configuration can't be read: {error}.") from error
    found = settings(modern(config) if isinstance(config, dict) else {}, meta.get("data"))
    return {
        path: value
        for path, value in found.items()
        if path in HELD or path.partition(".")[0] in HELD_GROUPS
    }


def check_same(begun: Settings, now: Settings, what: str, remedy: str) -> None:
    """Refuse to continue a run or sweep with other settings than it was begun with.

    Settings that only one of the two has are not compared: a later version of this program may have
    added or removed them.

    Args:
        what: the run or sweep, as the subject of a sentence.
        remedy: an alternative for the user, as a clause.

    Raises:
        UserError: names the first settings that differ, with both values.
    """
    begun, now = (json.loads(json.dumps(one)) for one in (begun, now))
    changed = [key for key in begun if key in now and begun[key] != now[key]]
    if not changed:
        return
    shown = [
        f"`{key}` was {_spelling(begun[key])}, now {_spelling(now[key])}"
        for key in changed[:NUM_SHOWN]
    ]
    more = f" (and {len(changed) - NUM_SHOWN} more)" if len(changed) > NUM_SHOWN else ""
    raise UserError(f"{what} was begun with other settings: {'; '.join(shown)}{more}; {remedy}.")


def _free(group: str, path: str) -> bool:
    """Whether a continued run may change a setting."""
    if group == "device":
        return path not in DEVICE
    return group in FREE_GROUPS or path in FREE


def _spelling(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
