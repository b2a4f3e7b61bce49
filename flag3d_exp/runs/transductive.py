"""Transductive runs: the network has seen the evaluation recordings, without their labels."""

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
    """If a checkpoint is adapted, note it in the log, the run folder and MLflow.

    Reports and comparisons read the note in the run folder.

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
