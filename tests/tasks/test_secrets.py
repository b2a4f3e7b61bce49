"""A password in a URI is in no file, no database and no line that the program leaves."""

from pathlib import Path

import pytest
from cli import TINY, program, refused, succeeded

pytestmark = pytest.mark.slow
SECRET = "Zq7secretpw"


def holding(folder: Path) -> list[str]:
    """The files below a folder that hold the secret, whatever kind of files they are."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if SECRET.encode() in path.read_bytes()]


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
        *("-m", "sweep=search", "+hydra.sweeper.params={seed: 'range(1,3)'}", "hydra.sweep.dir=m"),
        f"hydra.sweeper.storage=postgresql+psycopg://alice:{SECRET}@127.0.0.1:1/db",
    )
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    assert holding(tmp_path) == []
