"""MLflow runs: configuration, metrics, data and artifacts of a run; a run can be reopened.

After the run is created, a background thread delivers everything (`delivery`), so that training
never waits for the server. Items that are not delivered at the end are in the run folder; they are
delivered when the run is resumed.
"""

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from filelock import FileLock

from flag3d_exp import bounds
from flag3d_exp.credentials import hidden, usable_uri
from flag3d_exp.errors import UserError
from flag3d_exp.runs import mlflow_adapter as adapter
from flag3d_exp.runs.delivery import Delivery, Request
from flag3d_exp.runs.run_folder import Report

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]
AUTO = "auto"
# The meaning of `auto`: the value of an environment variable of MLflow, else this value.
DEFAULTS = {
    "uri": ("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
    "experiment": ("MLFLOW_EXPERIMENT_NAME", "flag3d_exp"),
}
ACCEPTED = "sqlite:///file.db, http://host:port, or `tracking=none`"
TRIAL_STATE = "trial_state"  # tag of a run that is a trial: complete, pruned or failed
CHANGED = "resumed."  # prefix of the tags with parameters that a resumed run has changed


def settle(group: MutableMapping[str, Any]) -> None:
    """Replace `auto` in the `tracking` group; log the environment variables that are used."""
    for key, (variable, _) in DEFAULTS.items():
        if group[key] == AUTO:
            group[key] = settled_value(key, AUTO)
            if os.environ.get(variable) and group["uri"] is not None:
                log.info("`tracking.%s` is taken from %s", key, variable)


def settled_value(key: str, value: str | None) -> str | None:
    """A value of `uri` or `experiment`, with `auto` replaced."""
    variable, default = DEFAULTS[key]
    value = os.environ.get(variable) or default if value == AUTO else value
    return value if value is None else hidden(value)


@dataclass(frozen=True)
class Tracking:
    """Settings of the `tracking` group.

    Args:
        uri: an MLflow tracking URI; `auto` for `$MLFLOW_TRACKING_URI`, or mlflow.db in the working
            folder; None for no tracking.
        experiment: the MLflow experiment that receives the run; `auto` for
            `$MLFLOW_EXPERIMENT_NAME`, or flag3d_exp.
        run_name: the run's name; None to name it after model, stream, dataset and seed.
        patience: seconds to wait at the end for an unreachable server.
    """

    uri: str | None = AUTO
    experiment: str = AUTO
    run_name: str | None = None
    patience: Annotated[float, ">= 0"] = 60.0

    def __post_init__(self) -> None:
        bounds.check(self, "tracking")
        if self.uri == "":
            raise UserError(f"`tracking.uri` must be one of: {ACCEPTED}; got ''.")
        if not self.experiment.strip():
            raise UserError(f"`tracking.experiment` must be a name; got {self.experiment!r}.")
        for key in DEFAULTS:
            object.__setattr__(self, key, settled_value(key, getattr(self, key)))

    def start(self, name: str, tags: Mapping[str, str], run_id: str | None = None) -> "Tracker":
        """A new MLflow run, or `run_id` reopened.

        Raises:
            UserError: the store cannot be used, does not know `run_id`, or has deleted it.
        """
        if self.uri is None:
            return Tracker(None, None, self.patience)
        client = connect(self.uri)
        try:
            if run_id is None:
                run = self._create_run(client, self.run_name or name, tags)
            else:
                run = self._reopen_run(client, run_id)
        except adapter.errors() as error:
            raise unusable(self.uri, error) from error
        return Tracker(client, run, self.patience)

    def _create_run(self, client: "MlflowClient", name: str, tags: Mapping[str, str]) -> "Run":
        assert self.uri is not None
        with _creation_lock(self.uri):
            experiment_id = _experiment_id(client, self.experiment, self.uri)
            _follow_moved_store(client, experiment_id, self.uri)
        run = client.create_run(experiment_id, tags=adapter.fitting_tags(tags), run_name=name)
        if not run.info.run_id:
            raise UserError(f"`tracking.uri={self.uri}` answers, but not as an MLflow server.")
        return run

    def _reopen_run(self, client: "MlflowClient", run_id: str) -> "Run":
        assert self.uri is not None
        which = f"`{run_id}`, which mlflow.json in the run folder names"
        try:
            run = client.get_run(run_id)
        except adapter.errors() as error:
            if not adapter.is_deleted(error):
                raise
            raise UserError(
                f"`tracking.uri={self.uri}` does not know {which}; give the store that does, or "
                "`tracking=none`."
            ) from error
        if run.info.run_id != run_id:
            raise UserError(f"`tracking.uri={self.uri}` answers, but not as an MLflow server.")
        if run.info.lifecycle_stage == "deleted":
            raise UserError(
                f"The MLflow run {which}, is deleted in `tracking.uri={self.uri}`; restore it "
                f"(`mlflow runs restore --run-id {run_id}`, and its experiment if that is deleted, "
                "too), or give `tracking=none`."
            )
        with _creation_lock(self.uri):
            _follow_moved_store(client, run.info.experiment_id, self.uri)
        client.update_run(run_id, status="RUNNING")
        return run


class Tracker:
    """One MLflow run (or none); every method returns at once."""

    def __init__(self, client: "MlflowClient | None", run: "Run | None", patience: float):
        self.run_id: str | None = None
        self.page: str | None = None
        self._delivery: Delivery | None = None
        if client is None or run is None:
            return
        self.run_id = run.info.run_id
        # Without the parameter the UI opens in a mode made for language models.
        mode = "workflowType=machine_learning"
        self.page = f"#/experiments/{run.info.experiment_id}/runs/{self.run_id}?{mode}"
        self._client: Any = client
        self._known = dict(run.data.params)
        self._delivery = Delivery(partial(client.get_run, self.run_id), patience)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log the flattened configuration; parameters changed by a resumed run become tags."""
        if self._delivery is None:
            return
        from mlflow.entities import Param

        values = {
            key: adapter.shortened_value(str(value), adapter.MAX_PARAMETER)
            for key, value in parameters.items()
        }
        new = [(key, Param(key, value)) for key, value in values.items() if key not in self._known]
        self._put("parameter", new, adapter.MAX_PARAMETERS, "params")
        changed = {
            f"{CHANGED}{key}": value
            for key, value in values.items()
            if self._known.get(key, value) != value
        }
        self.set_tags(changed)

    def log_report(self, report: Report) -> None:
        """Log the metrics of one step."""
        self.log_reports([report])

    def log_reports(self, reports: Sequence[Report]) -> None:
        """Log the metrics of several steps; metrics that the run already has are left out."""
        if self._delivery is None:
            return
        from mlflow.entities import Metric

        metrics = [
            (name, Metric(name, value, report.timestamp, report.step))
            for report in reports
            for name, value in report.metrics.items()
        ]
        self._put("metric", metrics, adapter.MAX_METRICS, "metrics")

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags during the run."""
        if self._delivery is None:
            return
        from mlflow.entities import RunTag

        entities = [
            (key, RunTag(key, adapter.shortened_value(value, adapter.MAX_TAG)))
            for key, value in tags.items()
        ]
        self._put("tag", entities, adapter.MAX_TAGS, "tags")

    def log_dataset(self, source: str, name: str, digest: str, context: str) -> None:
        """Log the dataset that the run used, with its digest."""
        if self._delivery is None:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name, digest[:36], "local", json.dumps({"uri": source}))
        given = DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
        send = partial(self._client.log_inputs, self.run_id)
        self._delivery.put(Request("dataset", [(name, given)], send))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a file, in `folder` of the run's artifacts."""
        if self._delivery is None:
            return

        def send(paths: list[str]) -> None:
            for one in paths:
                self._client.log_artifact(self.run_id, one, folder)

        self._delivery.put(Request("file", [(str(path), str(path))], send, is_file=True))

    def finish(self, status: Status) -> bool:
        """Close the run and wait for the delivery; return whether nothing is left to deliver."""
        if self._delivery is None:
            return True

        def send(_: list[Any]) -> None:
            self._client.set_terminated(self.run_id, status)

        return self._delivery.finish(Request("status", [(status, status)], send))

    def _put(self, kind: str, items: list[tuple[str, Any]], most: int, argument: str) -> None:
        """Queue entities in requests of at most `most` entities."""
        assert self._delivery is not None

        def send(entities: list[Any]) -> None:
            self._client.log_batch(self.run_id, **{argument: entities})

        for start in range(0, len(items), most):
            self._delivery.put(Request(kind, items[start : start + most], send))


def connect(uri: str) -> "MlflowClient":
    """A client of the store at `uri`; a new SQLite store is created by one process at a time.

    Raises:
        UserError: the store cannot be opened, or does not answer within ten seconds.
    """
    adapter.prepare_environment()
    logging.getLogger("alembic").setLevel(logging.WARNING)  # logs a page of notes on first use
    # Logs notes on migrations, and a page for each attempt to write to a full disk.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # logs each retry
    from mlflow.tracking import MlflowClient

    try:
        with _creation_lock(uri):
            _open_file(uri)
            client = MlflowClient(tracking_uri=usable_uri(uri))
            if uri.startswith(("http://", "https://")):
                _answer_in_time(client)
            else:
                client.search_experiments(max_results=1)
    except Exception as error:  # any server may answer, and a driver may be missing
        raise unusable(uri, error) from error
    return client


def attach(run_id: str, uri: str, paths: Sequence[Path], folder: str) -> None:
    """Log files to a run that has ended.

    Raises:
        UserError: the store cannot be opened or refuses the files.
    """
    client = connect(uri)
    with refusals(f"MLflow run `{run_id}` at {uri}"):
        for path in paths:
            client.log_artifact(run_id, str(path), folder)


def close(run_id: str, uri: str, status: Status, tags: Mapping[str, str]) -> None:
    """End a run whose own process could not end it, if it has not ended."""
    client = connect(uri)
    try:
        if client.get_run(run_id).info.status == "RUNNING":
            for key, value in tags.items():
                client.set_tag(run_id, key, value)
            client.set_terminated(run_id, status)
    except adapter.errors() as error:
        log.warning("MLflow run %s at %s was not closed: %s", run_id, uri, adapter.reason(error))


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn MLflow's errors in the block into a `UserError` that begins with `what`."""
    try:
        yield
    except adapter.errors() as error:
        raise UserError(f"{what}: {adapter.reason(error)}.") from error


def unusable(uri: str, error: Exception) -> UserError:
    """The error for a store that cannot be used, in one line."""
    return UserError(
        f"`tracking.uri={uri}` cannot be used: {adapter.reason(error)}. Accepted: {ACCEPTED}."
    )


def _answer_in_time(client: "MlflowClient") -> None:
    """Send a test request to a server; it must be answered within the limit of one request."""
    found: list[Exception] = []

    def ask() -> None:
        try:
            client.search_experiments(max_results=1)
        except Exception as error:
            found.append(error)

    asking = threading.Thread(target=ask, name="first request", daemon=True)
    asking.start()
    asking.join(adapter.seconds())
    if asking.is_alive():
        raise TimeoutError
    if found:
        raise found[0]


def _experiment_id(client: "MlflowClient", name: str, uri: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return client.create_experiment(name)
    if experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"`tracking.experiment={name}` is deleted in `tracking.uri={uri}`; choose another "
            "name, or restore it (`mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}`)."
        )
    return experiment.experiment_id


def _follow_moved_store(client: "MlflowClient", experiment_id: str, uri: str) -> None:
    path = _file(uri)
    if path is not None and (place := adapter.relocate_artifacts(client, experiment_id, path)):
        log.info("The MLflow store was moved; artifacts of its experiment now go to %s.", place)


def _file(uri: str) -> Path | None:
    """The file of an SQLite store; None for other stores."""
    path = uri.removeprefix("sqlite:///")
    return None if path == uri or "?" in path else Path(path)


@contextmanager
def _creation_lock(uri: str) -> Iterator[None]:
    """Lock the creation of an SQLite store: concurrent creation corrupts it permanently."""
    path = _file(uri)
    lock = FileLock(path.with_name(f".{path.name}.lock")) if path is not None else None
    if lock is not None:
        try:
            lock.acquire()
        except OSError:  # nothing can be created in the folder
            lock = None
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _open_file(uri: str) -> None:
    """Open the file of an SQLite store, to fail at once; MLflow would retry for minutes."""
    path = _file(uri)
    if path is None:
        return
    with closing(sqlite3.connect(path)) as database:
        (version,) = database.execute("PRAGMA schema_version").fetchone()
    if version == 0:  # no tables
        adapter.fill_new_store(path)
