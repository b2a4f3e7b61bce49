"""The files of an MLflow run: its run folder if it still holds the run, else its artifacts."""

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flag3d_exp import files
from flag3d_exp.errors import UserError
from flag3d_exp.runs.run_folder import mlflow_run
from flag3d_exp.runs.tracking import AUTO, connect, refusals, settled_value

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

READ = ("checkpoints", "config", "predictions")  # the folders of artifacts that tasks read


def files_of_run(run_id: str, uri: str | None = None) -> Path:
    """A folder with the checkpoints, predictions and configuration of an MLflow run.

    Args:
        uri: the MLflow store of the run; None for the default store.

    Raises:
        UserError: the store cannot be opened or does not know the run.
    """
    client, run = _run(run_id, uri)
    folder = _own_folder(run)
    if folder is not None:
        return folder
    with refusals(f"MLflow run `{run_id}`"):
        return _download(client, run)


def folder_of_run(run_id: str, uri: str | None = None) -> Path:
    """The run folder of an MLflow run, for resuming it.

    Raises:
        UserError: as in `files_of_run`, or the folder is not on this machine or holds another run.
    """
    _, run = _run(run_id, uri)
    folder = _own_folder(run)
    if folder is None:
        known = run.data.tags.get("run_folder")
        raise UserError(
            f"MLflow run `{run_id}` has no run folder on this machine; it was {known}, which is "
            "missing or holds another run now."
        )
    return folder


def _run(run_id: str, uri: str | None) -> "tuple[MlflowClient, Run]":
    uri = settled_value("uri", uri or AUTO)
    assert uri is not None
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not path.exists():  # MLflow would create an empty store
        raise UserError(f"MLflow run `{run_id}`: there is no store `tracking.uri={uri}`.")
    client = connect(uri)
    with refusals(f"MLflow run `{run_id}` at `tracking.uri={uri}`"):
        return client, client.get_run(run_id)


def _own_folder(run: "Run") -> Path | None:
    """The run's folder on this machine; None if it is missing or another run has used it since."""
    folder = Path(run.data.tags.get("run_folder", ""))
    with suppress(UserError):
        known = mlflow_run(folder)
        if known is not None and known.run_id == run.info.run_id:
            return folder
    return None


def _download(client: "MlflowClient", run: "Run") -> Path:
    """A folder with the run's artifacts, kept in the cache if the run has ended."""
    ended = None if run.info.status == "RUNNING" else run.info.end_time  # kept when resumed
    home = files.user_cache() / "runs"
    folder = home / f"{run.info.run_id}-{ended}"  # a resumed run has another end time
    if ended is not None and folder.is_dir():
        return folder
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    partial = Path(tempfile.mkdtemp(dir=home, prefix=f"{run.info.run_id}."))
    atexit.register(shutil.rmtree, partial, ignore_errors=True)
    for item in client.list_artifacts(run.info.run_id):
        if not item.is_dir or item.path in READ:
            client.download_artifacts(run.info.run_id, item.path, str(partial))
    if ended is None:
        return partial
    with suppress(OSError):  # another process was faster
        os.replace(partial, folder)
    return folder
