"""Runs on recordings that a network generated."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flag3d_exp import files
from flag3d_exp.runs.run_folder import GENERATED, inside
from flag3d_exp.runs.tracking import Tracker

if TYPE_CHECKING:
    from flag3d_exp.data.dataset import ClipDataset

log = logging.getLogger(__name__)


def note_generated(folder: Path, datasets: Mapping[str, "ClipDataset"], tracker: Tracker) -> None:
    """If a split has generated recordings, note it in the log, the run folder and MLflow.

    Reports and comparisons read the note in the run folder.
    """
    counts = {
        split: sum(recording.generated for recording in data.recordings)
        for split, data in datasets.items()
    }
    counts = {split: count for split, count in counts.items() if count}
    if not counts:
        return
    for split, count in counts.items():
        total = len(datasets[split])
        log.warning(
            "generated: %d of the %d recordings of split %r are from a network, not from a person.",
            *(count, total, split),
        )
    files.write_json(inside(folder, GENERATED), counts)
    tracker.set_tags({"generated": ", ".join(f"{split} {n}" for split, n in counts.items())})
    tracker.log_artifact(folder / GENERATED)
