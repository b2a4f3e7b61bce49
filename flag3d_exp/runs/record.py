"""Records of a run: its MLflow run, its tags, the batch of a non-finite loss, final metrics."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flag3d_exp import files
from flag3d_exp.credentials import same_place
from flag3d_exp.engine.interrupt import Interrupted, Pruned
from flag3d_exp.errors import UserError
from flag3d_exp.runs.provenance import provenance
from flag3d_exp.runs.run_folder import History, Report, inside, mlflow_run
from flag3d_exp.runs.tracking import TRIAL_STATE, Status, Tracker, Tracking
from flag3d_exp.runs.trial_hooks import TrialHooks

if TYPE_CHECKING:
    from flag3d_exp.data.dataset import ClipDataset
    from flag3d_exp.engine.train import NonFiniteLoss

log = logging.getLogger(__name__)


@contextmanager
def tracked_run(
    tracking: Tracking,
    folder: Path,
    title: str,
    tags: Mapping[str, str],
    parameters: Mapping[str, Any],
    trial: TrialHooks | None = None,
) -> Iterator[Tracker]:
    """Keep an MLflow run open during the block; end it as FINISHED, FAILED or KILLED.

    Args:
        title: name of the MLflow run, unless the sweep gives it a name.
        tags: in addition to provenance and the run folder.
        parameters: flat names and values.
        trial: the run's trial in a sweep; None outside a sweep.
    """
    all_tags = provenance() | {"run_folder": str(folder)} | dict(tags)
    if trial is not None:
        all_tags |= trial.tags
        title = trial.title or title
    run_id = tracking_run_id(folder, tracking.uri)
    tracker = tracking.start(title, all_tags, run_id)
    status: Status = "FAILED"
    state = "failed"
    try:
        if run_id is not None:  # some reports may not have been delivered before the run stopped
            tracker.log_reports(History(folder).reports)
        files.write_json(folder / "mlflow.json", {"uri": tracking.uri, "run_id": tracker.run_id})
        tracker.log_parameters(dict(parameters))
        if (folder / ".hydra" / "config.yaml").exists():
            tracker.log_artifact(folder / ".hydra" / "config.yaml", "config")
        yield tracker
        status, state = "FINISHED", "complete"
    except Pruned:
        status, state = "FINISHED", "pruned"
        raise
    except Interrupted:
        status = "KILLED"
        raise
    finally:
        if trial is not None:
            tracker.set_tags({TRIAL_STATE: state})
        tracker.finish(status)


def tracking_run_id(folder: Path, uri: str | None) -> str | None:
    """The MLflow run that a resumed folder belongs to."""
    known = mlflow_run(folder)
    return known.run_id if known is not None and same_place(known.uri, uri) else None


def explain(
    error: "NonFiniteLoss", folder: Path, train_split: "ClipDataset", tracker: Tracker
) -> UserError:
    """Save the batch of a non-finite loss; return an error that names its recordings."""
    names = [train_split.names[index] for index in error.indices]
    clips = np.stack([train_split.clips(int(index), error.epoch) for index in error.indices])
    path = inside(folder, f"nonfinite_step_{error.step}.npz")
    labels = train_split.labels[error.indices]
    files.write_arrays(path, {"names": np.array(names), "clips": clips, "labels": labels})
    tracker.log_artifact(path)
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return UserError(
        f"The loss is {error.loss} at step {error.step} (epoch {error.epoch + 1}); its batch of "
        f"{listed} is in {path}. A lower `optimizer.lr`, `task.clip_norm` or `task.nonfinite=skip` "
        "may help."
    )


def final_report(metrics: Mapping[str, float]) -> Report:
    """The report of a run that measures only once."""
    return Report(0, time.time_ns() // 1_000_000, dict(metrics))
