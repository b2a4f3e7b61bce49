"""What `mlflow_adapter` supposes of MLflow, held against the MLflow that is installed.

A test that fails after an upgrade names the supposition that no longer holds.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils import validation
from servers import answer

from flag3d_exp.errors import UserError
from flag3d_exp.runs import mlflow_adapter as adapter
from flag3d_exp.runs.tracking import connect


def failure(client: MlflowClient) -> Exception:
    """What the client raises when asked for something."""
    adapter.prepare_environment()
    with pytest.raises(adapter.errors()) as caught:
        client.search_experiments(max_results=1)
    return caught.value


def test_limits_are_mlflows_own():
    assert adapter.MAX_METRICS == validation.MAX_METRICS_PER_BATCH
    assert adapter.MAX_PARAMETERS == validation.MAX_PARAMS_TAGS_PER_BATCH
    assert adapter.MAX_TAGS == validation.MAX_PARAMS_TAGS_PER_BATCH
    assert adapter.MAX_PARAMETER == validation.MAX_PARAM_VAL_LENGTH
    assert adapter.MAX_TAG == validation.MAX_TAG_VAL_LENGTH


def test_values_at_the_limit_are_taken(store):
    client = connect(store)
    run_id = client.create_run("0").info.run_id
    parameter = adapter.shortened_value("p" * 7000, adapter.MAX_PARAMETER)
    tag = adapter.shortened_value("t" * 9000, adapter.MAX_TAG)
    client.log_param(run_id, "long", parameter)
    client.set_tag(run_id, "long", tag)
    data = client.get_run(run_id).data
    assert (data.params["long"], data.tags["long"]) == (parameter, tag)
    assert parameter.startswith("ppp") and parameter.endswith("p ... and 1040 characters more")


def test_tags_that_would_cost_the_run_are_left_out():
    given = {"mlflow.parentRunId": "1", "a b/c:d-e": "2", "x@y": "3", "": "4", "long": "y" * 9000}
    fitting = adapter.fitting_tags(given)
    assert list(fitting) == ["mlflow.parentRunId", "a b/c:d-e", "long"]
    assert len(fitting["long"]) <= adapter.MAX_TAG


@pytest.mark.parametrize(
    ("response", "is_away", "reason"),
    [
        (answer("500 Internal Server Error", b"oops"), True, "too many 500 error responses"),
        (answer("503 Service Unavailable"), True, "too many 503 error responses"),
        (answer("429 Too Many Requests"), True, "too many 429 error responses"),
        (answer("404 Not Found", b"<html>secret</html>"), False, "error code 404"),
        (answer("401 Unauthorized", b"who?"), False, "error code 401"),
        (answer("403 Forbidden", b'{"error_code": "PERMISSION_DENIED", "message": "no"}'),
         False, "PERMISSION_DENIED: no"),
        (answer("400 Bad Request", b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "x"}'),
         False, "INVALID_PARAMETER_VALUE: x"),
        (answer("200 OK", b"<html>secret</html>", "text/html"), True, "not in a valid JSON format"),
        (answer("200 OK", b'{"experiments": 3}'), True, "experiments"),
        (b"", True, "Remote end closed connection without response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", True, "SSH-2.0"),
    ],
)  # fmt: skip
def test_an_answer_is_told_from_a_refusal_and_named_in_one_line(serve, response, is_away, reason):
    error = failure(MlflowClient(serve(response)))
    assert adapter.is_away(error) is is_away
    assert not adapter.cannot_write(error)
    assert reason in adapter.reason(error)
    assert "\n" not in adapter.reason(error) and "secret" not in adapter.reason(error)


def test_a_server_that_hangs_is_waited_for_as_long_as_the_environment_says(serve, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    error = failure(MlflowClient(serve(None)))
    assert adapter.is_away(error)
    assert adapter.reason(error) == "it did not answer within 1 s"
    with pytest.raises(UserError, match="cannot be used: it did not answer within 1 s"):
        connect(serve(None))


def test_without_a_setting_a_server_has_ten_seconds_and_one_try(monkeypatch):
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    adapter.prepare_environment()
    from mlflow.environment_variables import (
        MLFLOW_HTTP_REQUEST_MAX_RETRIES,
        MLFLOW_HTTP_REQUEST_TIMEOUT,
    )

    assert (MLFLOW_HTTP_REQUEST_TIMEOUT.get(), MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()) == (10, 0)
    assert adapter.seconds() == 10


def test_a_port_where_nothing_listens_is_away(serve):
    uri = serve(b"")
    connection = MlflowClient(uri.rpartition(":")[0] + ":9")
    error = failure(connection)
    assert adapter.is_away(error)
    assert adapter.reason(error) == "Connection refused"


def test_a_deleted_run_and_an_unknown_one_are_known_by_what_mlflow_says(store):
    client = connect(store)
    run_id = client.create_run("0").info.run_id
    client.delete_run(run_id)
    for gone in (run_id, "0" * 32):
        with pytest.raises(MlflowException) as caught:
            client.log_metric(gone, "m", 1.0)
        assert adapter.is_deleted(caught.value)
        assert not adapter.is_away(caught.value)
    with pytest.raises(MlflowException) as caught:
        client.log_metric(client.create_run("0").info.run_id, "@", 1.0)
    assert not adapter.is_deleted(caught.value)


def test_a_database_that_cannot_write_is_known_through_mlflows_layers(store, tmp_path):
    client = connect(store)
    run_id = client.create_run("0").info.run_id
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON metrics BEGIN "
            "SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    with pytest.raises(MlflowException) as caught:
        client.log_metric(run_id, "m", 1.0)
    assert adapter.cannot_write(caught.value) and adapter.is_away(caught.value)
    assert "SQL" not in adapter.reason(caught.value)


def test_artifacts_follow_a_store_that_was_moved_with_them(store, tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (tmp_path / "mlflow.db").rename(old / "mlflow.db")
    monkeypatch.chdir(old)
    client = connect(f"sqlite:///{old}/mlflow.db")
    experiment = client.create_experiment("e")
    run_id = client.create_run(experiment).info.run_id
    (old / "note.txt").write_text("x")
    client.log_artifact(run_id, "note.txt")
    assert adapter.relocate_artifacts(client, experiment, Path("mlflow.db")) is None
    monkeypatch.chdir(tmp_path)
    os.rename(old, new)
    monkeypatch.chdir(new)
    client = connect(f"sqlite:///{new}/mlflow.db")
    place = adapter.relocate_artifacts(client, experiment, Path("mlflow.db"))
    assert place == new / "mlruns" / experiment
    client.log_artifact(client.create_run(experiment).info.run_id, "note.txt")
    assert [item.path for item in client.list_artifacts(run_id)] == ["note.txt"]
    assert not old.exists()
    assert len(list(place.iterdir())) == 2


def test_artifacts_kept_apart_from_the_store_stay_where_they_are(store, tmp_path):
    client = connect(store)
    apart = tmp_path.parent / f"{tmp_path.name}-artifacts"
    experiment = client.create_experiment("e", artifact_location=str(apart / "mlruns" / "1"))
    run_id = client.create_run(experiment).info.run_id
    (tmp_path / "mlruns" / "1" / "another run").mkdir(parents=True)
    assert adapter.relocate_artifacts(client, experiment, tmp_path / "mlflow.db") is None
    assert client.get_run(run_id).info.artifact_uri == f"{apart}/mlruns/1/{run_id}/artifacts"


def tables(path: Path) -> list[tuple]:
    """Tables, indices, columns and version; the order of constraints differs from time to time."""
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT type, name FROM sqlite_master ORDER BY name").fetchall()
        for kind, name in tuple(found):
            if kind == "table":
                found += database.execute(f"PRAGMA table_info({name})")
        return [*found, *database.execute("SELECT version_num FROM alembic_version")]


def test_a_new_store_has_the_tables_that_mlflow_makes(tmp_path, monkeypatch):
    MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflows.db").search_experiments()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    connect(f"sqlite:///{tmp_path}/first.db")
    assert tables(tmp_path / "first.db") == tables(tmp_path / "mlflows.db")

    def made_again(_engine):
        raise AssertionError("the tables are copied, not made again")

    monkeypatch.setattr("mlflow.store.db.utils._initialize_tables", made_again)
    client = connect(f"sqlite:///{tmp_path}/second.db")
    assert tables(tmp_path / "second.db") == tables(tmp_path / "mlflows.db")
    assert client.get_run(client.create_run("0").info.run_id).info.status == "RUNNING"


@pytest.mark.parametrize("damage", ["no folder", "no database"])
def test_without_a_cache_mlflow_makes_the_tables_itself(damage, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = tmp_path / "flag3d_exp"
    if damage == "no folder":
        cache.write_text("a file")
    else:
        cache.mkdir()
        (cache / f"mlflow_{mlflow.__version__}.db").write_text("no database")
    client = connect(f"sqlite:///{tmp_path}/store.db")
    assert client.get_run(client.create_run("0").info.run_id).info.status == "RUNNING"
