"""The recordings of a run's predictions, if its dataset can still be read."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.source import Dataset
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.records import record
from flag3d_exp.runs.references import Run
from flag3d_exp.skeletons.layout import Layout, load_layout

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recordings:
    """Recordings by name, and the layout of their joints."""

    by_name: Mapping[str, Recording]
    layout: Layout

    @property
    def subjects(self) -> dict[str, str]:
        """The subject of each recording, if the file names it."""
        known = ((name, recording.subject) for name, recording in self.by_name.items())
        return {name: subject for name, subject in known if subject is not None}


def find_recordings(runs: Sequence[Run]) -> Recordings | None:
    """The recordings of the first run whose dataset can be read; None if there is no such run."""
    for run in runs:
        settings = run.config.get("dataset")
        if not settings:
            continue
        try:
            dataset = _dataset(settings)
            return Recordings(
                dataset.open().by_name, load_layout(dataset.recorded_layout or dataset.layout)
            )
        except UserError as error:
            log.warning("The recordings of %s cannot be shown: %s", run.title, error)
    return None


def _dataset(settings: Mapping[str, Any]) -> Dataset:
    names = {field.name for field in fields(Dataset)}
    known = {name: value for name, value in settings.items() if name in names}
    try:
        return record(Dataset, known | {"cache": "auto", "fold": None})  # all recordings, by name
    except Malformed as error:
        raise UserError(f"its configuration does not describe a dataset: {error}.") from error
