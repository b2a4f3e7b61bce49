"""Every use of undocumented behaviour of MLflow, in one place.

These are the meaning of exceptions, messages recognised by their text, limits of requests, and the
tables of an SQLite store. Each has a test in `tests/runs/test_mlflow_adapter.py`, which fails if a
new version of MLflow behaves differently.
"""

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flag3d_exp import files

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MAX_METRICS, MAX_PARAMETERS, MAX_TAGS = 1000, 100, 100  # of one request
MAX_PARAMETER, MAX_TAG = 6000, 8000  # characters of a value
TAG_NAME = re.compile(r"[\w./ :-]{1,250}")
SECONDS = 10.0
DELETED = re.compile(r"must be in the 'active' state\. Current state is deleted")
UNKNOWN = "RESOURCE_DOES_NOT_EXIST"
# A database that cannot write now; a server passes only the text on.
NO_WRITE = re.compile(r"OperationalError|disk is full|No space left on device|database is locked")
ANSWER = re.compile(r"\.? Response body: .*", re.DOTALL)
BRACKETED = re.compile(r"^\[Errno -?\d+\] ")


def prepare_environment() -> None:
    """Set MLflow's environment variables that the user has not set."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # The delivery thread retries by itself; MLflow's own retries would block it for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", f"{SECONDS:g}")


def fill_new_store(path: Path) -> None:
    """Copy MLflow's tables into an empty SQLite store; without a copy at hand, make it first.

    MLflow makes the tables of a new store in more than 60 migrations, which take seconds. If the
    user's cache cannot be used, the store stays empty, and MLflow fills it when it opens it.
    """
    import mlflow

    tables = files.user_cache() / f"mlflow_{mlflow.__version__}.db"
    with suppress(*errors()):
        if not tables.exists():
            tables.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(tables) as temporary:
                _make_tables(temporary)
        made = sqlite3.connect(f"{tables.absolute().as_uri()}?mode=ro", uri=True)
        with closing(made) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)


def _make_tables(path: Path) -> None:
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(f"sqlite:///{path}")
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()


def seconds() -> float:
    """The time limit for the answer to a request."""
    try:
        return float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", SECONDS))
    except ValueError:
        return SECONDS


def errors() -> tuple[type[Exception], ...]:
    """The exceptions of MLflow's client when a store cannot be used or refuses a request."""
    from google.protobuf.json_format import ParseError
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, RequestException, SQLAlchemyError, ParseError, sqlite3.Error, OSError)


def is_away(error: Exception) -> bool:
    """Whether a retry may help: there was no answer, or the request is not the cause of the error.

    An error of a local file does not count, because the server is not its cause.
    """
    from google.protobuf.json_format import ParseError
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if cannot_write(error):
        return True
    if isinstance(error, RequestException):
        return error.response is None or _is_servers_fault(error.response.status_code)
    if isinstance(error, MlflowException):
        return _is_servers_fault(error.get_http_status_code())
    return isinstance(error, (ParseError, ConnectionError, TimeoutError))


def cannot_write(error: BaseException) -> bool:
    """Whether a disk is full or a database cannot write anything now."""
    return any(
        files.is_full(one)
        or isinstance(one, sqlite3.OperationalError)
        or NO_WRITE.search(str(one)) is not None
        for one in _chain(error)
    )


def is_deleted(error: Exception) -> bool:
    """Whether the run, or its experiment, was deleted or is unknown to the store."""
    return DELETED.search(str(error)) is not None or getattr(error, "error_code", "") == UNKNOWN


def reason(error: BaseException) -> str:
    """The first cause of an error in one line, without the libraries that passed it on."""
    *_, first = _chain(error)
    while first.args and isinstance(first.args[-1], BaseException):
        first = first.args[-1]
    if isinstance(first, OSError) and first.filename is not None:
        return f"{first.strerror}: {first.filename}"
    if isinstance(first, TimeoutError) or "timed out" in str(first):
        return f"it did not answer within {seconds():g} s"
    text = ANSWER.sub("", str(first).strip() or type(first).__name__)
    return BRACKETED.sub("", text.splitlines()[0])[:300].rstrip(".")


def fitting_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that MLflow accepts with a new run; one bad tag would make it refuse the run."""
    return {
        name: shortened_value(value, MAX_TAG)
        for name, value in tags.items()
        if TAG_NAME.fullmatch(name)
    }


def shortened_value(value: str, limit: int) -> str:
    """The value, cut to `limit` characters with a note of the number of missing characters."""
    if len(value) <= limit:
        return value
    kept = limit - 40
    return f"{value[:kept]} ... and {len(value) - kept} characters more"


def relocate_artifacts(client: "MlflowClient", experiment_id: str, store: Path) -> Path | None:
    """Correct the artifact paths of an experiment whose SQLite store was moved with its artifacts.

    MLflow stores absolute paths. They are replaced if the folder of the store has artifacts of the
    experiment's runs under the same relative path.

    Returns:
        The new path, or None if nothing had to be changed.
    """
    location = client.get_experiment(experiment_id).artifact_location
    old = Path(location.removeprefix("file://"))
    home = store.resolve().parent
    if "://" in str(old) or not old.is_absolute() or old.resolve().is_relative_to(home):
        return None
    with closing(sqlite3.connect(store)) as database, database:
        rows = database.execute(
            "SELECT run_uuid FROM runs WHERE experiment_id = ?", (int(experiment_id),)
        )
        run_ids = {str(row[0]) for row in rows}
        new = next((path for path in _same_tails(old, home) if _holds(path, run_ids)), None)
        if new is None:
            return None
        database.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
            (str(new), int(experiment_id)),
        )
        database.execute(
            "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
            "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
            (str(new), len(location) + 1, int(experiment_id), len(location) + 1, f"{location}/"),
        )
    return new


def _same_tails(old: Path, home: Path) -> Iterator[Path]:
    """`home` joined with the ends of `old`, the longest first."""
    parts = old.parts[1:]
    for begin in range(len(parts)):
        yield home.joinpath(*parts[begin:])


def _holds(folder: Path, run_ids: set[str]) -> bool:
    try:
        return any(name in run_ids for name in os.listdir(folder))
    except OSError:
        return False


def _is_servers_fault(status: int) -> bool:
    return status >= 500 or status in (408, 429)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors that it was raised from, the first cause last."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__
