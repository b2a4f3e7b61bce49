"""MLflow, which only this and `model_store` know: configuration, metrics, data, artifacts of runs.

Everything after the run's creation is delivered by a background thread from a queue, so that
training never waits for the server. A server that goes away is tried again until it is back; what
is still undelivered at the end is on disk in the run folder, for when the run is resumed.
"""

import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from filelock import FileLock

from flag3d_exp import bounds
from flag3d_exp.errors import UserError
from flag3d_exp.runs.run_folder import Report

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]
RETRY_SECONDS = 2.0
ACCEPTED = "sqlite:///file.db, http://host:port, or `tracking=none`"
NOT_THERE = "RESOURCE_DOES_NOT_EXIST"
MAX_METRICS = 1000  # that MLflow takes at once
TRIAL_STATE = "trial_state"  # tag of a run that is a trial: complete, pruned or failed


@dataclass(frozen=True)
class Tracking:
    """Settings of the `tracking` group.

    Args:
        uri: an MLflow tracking URI; None for no tracking.
        experiment: the MLflow experiment that receives the run.
        run_name: the run's name; None to name it after model, stream, dataset and seed.
        patience: seconds to wait at the end for a server that is away.
    """

    uri: str | None = "sqlite:///mlflow.db"
    experiment: str = "flag3d_exp"
    run_name: str | None = None
    patience: Annotated[float, ">= 0"] = 60.0

    def __post_init__(self) -> None:
        bounds.check(self, "tracking")
        if self.uri == "":
            raise UserError(f"`tracking.uri` must be one of: {ACCEPTED}; got ''.")
        if not self.experiment.strip():
            raise UserError(f"`tracking.experiment` must be a name; got {self.experiment!r}.")

    def start(self, name: str, tags: Mapping[str, str], run_id: str | None = None) -> "Tracker":
        """A new MLflow run, or `run_id` reopened.

        Raises:
            UserError: the store cannot be reached or does not know `run_id`.
        """
        if self.uri is None:
            return Tracker(None, None, None, self.patience)
        client = connect(self.uri)
        try:
            if run_id is not None:
                client.update_run(run_id, status="RUNNING")
                run = client.get_run(run_id)
            else:
                with _creation_lock(self.uri):
                    experiment = _experiment_id(client, self.experiment)
                run = client.create_run(experiment, tags=dict(tags), run_name=self.run_name or name)
        except _mlflow_errors() as error:
            if run_id is not None and getattr(error, "error_code", "") == NOT_THERE:
                raise UserError(
                    f"`tracking.uri={self.uri}` does not know `{run_id}`, which the run folder's "
                    "mlflow.json names; give the store that does, or `tracking=none`."
                ) from error
            raise _unreachable(self.uri, error) from error
        return Tracker(client, run.info.run_id, run.info.experiment_id, self.patience)


class Tracker:
    """One MLflow run (or none); every method returns at once."""

    def __init__(
        self,
        client: "MlflowClient | None",
        run_id: str | None,
        experiment_id: str | None,
        patience: Annotated[float, ">= 0"],
    ):
        self.run_id = run_id
        # Without the parameter the UI opens in a mode made for language models.
        mode = "workflowType=machine_learning"
        self.page = f"#/experiments/{experiment_id}/runs/{run_id}?{mode}" if run_id else None
        self._client, self._patience = client, patience
        self._queue: queue.Queue[Callable[[], Any] | None] = queue.Queue()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="tracking", daemon=True)
        if client is not None:
            self._thread.start()

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """The flattened configuration."""
        items = [(key, str(value)[:6000]) for key, value in parameters.items()]
        for start in range(0, len(items), 100):
            self._put(self._log_parameters, items[start : start + 100])

    def log_report(self, report: Report) -> None:
        """The metrics of one moment."""
        self.log_reports([report])

    def log_reports(self, reports: Sequence[Report]) -> None:
        """The metrics of some moments; what the run has already is not added again."""
        self._put(self._log_reports, list(reports))

    def log_dataset(self, source: str, name: str, digest: str, context: str) -> None:
        """Which data the run used, by its digest."""
        self._put(self._log_dataset, source, name, digest, context)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """A file, under `folder` of the run's artifacts."""
        self._put(self._log_artifact, str(path), folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags set while the run goes on."""
        self._put(self._set_tags, dict(tags))

    def finish(self, status: Status) -> bool:
        """Close the run, wait for what is on its way, and say whether all of it arrived."""
        if self._client is None:
            return True
        self._put(self._terminate, status)
        self._queue.put(None)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            self._abandoned.set()
            log.warning(
                "The tracking server did not answer; what it lacks is in the run folder and is "
                "delivered when the run is resumed."
            )
            return False
        return True

    def _put(self, function: Callable, *args: Any) -> None:
        if self._client is not None:
            self._queue.put(lambda: function(*args))

    def _deliver(self) -> None:
        away = False
        while (send := self._queue.get()) is not None:
            while not self._abandoned.is_set():
                try:
                    send()
                except _mlflow_errors() as error:
                    if _refused(error):
                        log.warning("MLflow refused a value: %s", _first_line(error))
                        break
                    if not away:
                        log.warning(
                            "The tracking server is away (%s); metrics are kept meanwhile.",
                            _first_line(_cause(error)),
                        )
                    away = True
                    time.sleep(RETRY_SECONDS)
                else:
                    if away:
                        log.warning("The tracking server is back.")
                    away = False
                    break

    def _log_parameters(self, items: Sequence[tuple[str, str]]) -> None:
        from mlflow.entities import Param

        assert self._client and self.run_id
        self._client.log_batch(self.run_id, params=[Param(key, value) for key, value in items])

    def _log_reports(self, reports: Sequence[Report]) -> None:
        from mlflow.entities import Metric

        assert self._client and self.run_id
        metrics = [
            Metric(name, value, report.timestamp, report.step)
            for report in reports
            for name, value in report.metrics.items()
        ]
        for start in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + MAX_METRICS])

    def _log_dataset(self, source: str, name: str, digest: str, context: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        assert self._client and self.run_id
        dataset = Dataset(name, digest[:36], "local", json.dumps({"uri": source}))
        tags = [InputTag("mlflow.data.context", context)]
        self._client.log_inputs(self.run_id, [DatasetInput(dataset, tags)])

    def _log_artifact(self, path: str, folder: str | None) -> None:
        assert self._client and self.run_id
        self._client.log_artifact(self.run_id, path, folder)

    def _set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        assert self._client and self.run_id
        self._client.log_batch(self.run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def _terminate(self, status: Status) -> None:
        assert self._client and self.run_id
        self._client.set_terminated(self.run_id, status)


def connect(uri: str) -> "MlflowClient":
    """A client of the store at `uri`; a new SQLite store is created by one process at a time.

    Raises:
        UserError: the store cannot be opened.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # a page of notes on first use
    # Migrations told, and a page for each attempt to write to a full disk; errors are raised too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    from mlflow.tracking import MlflowClient

    try:
        with _creation_lock(uri):
            _open_file(uri)
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
    except (*_mlflow_errors(), sqlite3.Error, ImportError) as error:
        raise _unreachable(uri, error) from error
    return client


def attach(run_id: str, uri: str, paths: Sequence[Path], folder: str) -> None:
    """Log files to a run that has ended.

    Raises:
        UserError: the store cannot be opened or does not take them.
    """
    client = connect(uri)
    with refusals(f"MLflow run `{run_id}` at {uri}"):
        for path in paths:
            client.log_artifact(run_id, str(path), folder)


def close(run_id: str, uri: str, status: Status, tags: Mapping[str, str]) -> None:
    """End a run whose own process could not, if it has not ended."""
    client = connect(uri)
    try:
        if client.get_run(run_id).info.status == "RUNNING":
            for key, value in tags.items():
                client.set_tag(run_id, key, value)
            client.set_terminated(run_id, status)
    except _mlflow_errors() as error:
        log.warning("MLflow run %s at %s was not closed: %s", run_id, uri, _first_line(error))


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """What MLflow refuses in the block, as a UserError that begins with `what`."""
    try:
        yield
    except _mlflow_errors() as error:
        raise UserError(f"{what}: {_first_line(error)}") from error


def _experiment_id(client: "MlflowClient", name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    return experiment.experiment_id if experiment else client.create_experiment(name)


def _creation_lock(uri: str) -> AbstractContextManager[Any]:
    """Processes that create one SQLite store at once corrupt it for good."""
    if not uri.startswith("sqlite:///"):
        return nullcontext()
    path = Path(uri.removeprefix("sqlite:///"))
    return FileLock(path.with_name(f".{path.name}.lock"))


def _open_file(uri: str) -> None:
    """Fail at once where MLflow would try for minutes: on a file that SQLite cannot read."""
    if uri.startswith("sqlite:///") and "?" not in uri:
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
            database.execute("PRAGMA schema_version")


def _mlflow_errors() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, RequestException, SQLAlchemyError, OSError)


def _refused(error: Exception) -> bool:
    """Whether the server answered and said no, so that trying again is useless."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and 400 <= error.get_http_status_code() < 500


def _unreachable(uri: str, error: Exception) -> UserError:
    return UserError(
        f"`tracking.uri={uri}` cannot be used: {_first_line(error).rstrip('.')}. "
        f"Accepted: {ACCEPTED}."
    )


def _cause(error: BaseException) -> BaseException:
    """What it all began with."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
