"""Runs whose network has seen, without labels, the recordings that it is judged on."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flag3d_exp import files
from flag3d_exp.runs.run_folder import TRANSDUCTIVE, inside
from flag3d_exp.runs.tracking import Tracker

log = logging.getLogger(__name__)
KEY = "transductive"  # of a checkpoint's meta


def note_transductive(folder: Path, meta: Mapping[str, Any], tracker: Tracker) -> None:
    """Say in the log, the run folder and MLflow that a checkpoint is adapted, if it is.

    Reports and comparisons find it in the run folder.

    Args:
        meta: the checkpoint's.
    """
    known = meta.get(KEY)
    if not isinstance(known, Mapping):
        return
    log.warning(
        "transductive: the network was adapted to the recordings of split %r without their "
        "labels; figures on them are no test on unseen data.",
        known.get("split"),
    )
    files.write_json(inside(folder, TRANSDUCTIVE), dict(known))
    tracker.set_tags({"protocol": KEY, "adapted_to": str(known.get("split"))})
    tracker.log_artifact(folder / TRANSDUCTIVE)
