"""A password in a URI is in no file, no database and no line that the program leaves."""

import base64
from pathlib import Path

import pytest
from cli import TINY, program, refused, succeeded
from mlflow.tracking import MlflowClient
from servers import Guard, MlflowServer

pytestmark = pytest.mark.slow
SECRET = "Zq7secretpw"


def holding(folder: Path) -> list[str]:
    """The files below a folder that hold the secret, whatever kind of files they are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    secret = SECRET[:-1].encode()
    return [str(path.relative_to(folder)) for path in files if secret in path.read_bytes()]


def test_a_run_and_its_report_show_no_password(tmp_path):
    """SQLite needs no password, and takes one."""
    store = f"tracking.uri='sqlite:///file:mlflow.db?uri=true&password={SECRET}'"
    printed = succeeded(tmp_path, *TINY, "task.epochs=1", store, "hydra.run.dir=run")
    printed += succeeded(tmp_path, "task=report", "task.runs=[run]", store, "hydra.run.dir=report")
    assert SECRET not in printed
    assert "password=***" in printed
    assert (tmp_path / "mlflow.db").stat().st_size > 0
    assert holding(tmp_path) == []
    page = (tmp_path / "report" / "report.html").read_text()
    assert str(tmp_path) not in page
    assert "mlflow.db" not in page


def test_a_refusal_shows_no_password(tmp_path):
    line = refused(
        tmp_path,
        f"tracking.uri=http://alice:{SECRET}@127.0.0.1:1",
        "hydra.run.dir=run",
    )
    assert "`tracking.uri=http://alice:***@127.0.0.1:1` cannot be used" in line
    done = program(
        tmp_path,
        "-m",
        "sweep=search",
        "+hydra.sweeper.params={seed: 'range(1,3)'}",
        "hydra.sweep.dir=m",
        f"hydra.sweeper.storage=postgresql+psycopg://alice:{SECRET}@127.0.0.1:1/db",
    )
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    assert holding(tmp_path) == []


def test_a_server_s_password_is_sent_to_it_and_shown_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")  # machines of CI are busy
    server = MlflowServer(tmp_path)
    server.start()
    sent = base64.b64encode(f"alice:{SECRET}".encode()).decode()
    try:
        with Guard(server.port, f"Authorization: Basic {sent}") as guard:
            store = f"tracking.uri=http://alice:{SECRET}@127.0.0.1:{guard.port}"
            printed = succeeded(tmp_path, *TINY, "task.epochs=1", store, "hydra.run.dir=run")
            report = ("task=report", "task.runs=[run]", store, "hydra.run.dir=report")
            printed += succeeded(tmp_path, *report)
            wrong = f"tracking.uri=http://alice:{SECRET[:-1]}@127.0.0.1:{guard.port}"
            line = refused(tmp_path, *TINY, wrong, "hydra.run.dir=wrong")
        runs = MlflowClient(server.uri).search_runs(["1"])
    finally:
        server.stop()
    assert guard.num_passed > 0
    assert "401" in line
    assert [run.info.status for run in runs] == ["FINISHED"]
    config = (tmp_path / "run" / ".hydra" / "config.yaml").read_text()
    assert f"http://alice:***@127.0.0.1:{guard.port}" in config
    assert SECRET[:-1] not in printed + line
    assert sent not in printed + line
    assert holding(tmp_path) == []
    assert (tmp_path / "artifacts").is_dir()
