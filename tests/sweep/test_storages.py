"""Studies in a database, and many drivers that create it at once."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import optuna
import pytest
from mlflow.tracking import MlflowClient
from sweep import study
from sweep.study import finish, results, search

from flag3d_exp.errors import UserError
from flag3d_exp.sweep.storage import open_storage


def postgres_programs() -> Path:
    """Debian's folder of initdb and pg_ctl."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("POSTGRESQL IS NOT INSTALLED: a study in it was not run")
    pytest.importorskip("psycopg", reason="PSYCOPG IS NOT INSTALLED: PostgreSQL was not tested")
    return found[-1].parent


@pytest.fixture
def postgres():
    """The URL of a fresh PostgreSQL on loopback."""
    programs = postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    become: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        become = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(name: str, *arguments: str) -> None:
        line = [*become, str(programs / name), "-D", str(folder / "data"), *arguments]
        subprocess.run(line, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    run("initdb", "-A", "trust", "-U", "sweep", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://sweep@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def test_a_study_lives_in_postgresql(tmp_path, postgres):
    line = search(
        f"hydra.sweeper.storage={postgres}",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.n_jobs=2",
        "task.fault=once,once",
    )
    drivers = [study.start(tmp_path, line) for _ in range(2)]
    assert [driver.wait(240) for driver in drivers] == [0, 0], (tmp_path / "driver.log").read_text()
    found = results(tmp_path)["trials"]
    found.pop("dropped", None)
    assert found == {"complete": 4, "retried": 4}
    assert not list((tmp_path / "multirun").glob("*/journal.log"))


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["null", "sqlite:///study.db"])
@pytest.mark.parametrize("count", [3, pytest.param(8, marks=pytest.mark.release)])
def test_drivers_create_study_and_tracking_store_at_once(tmp_path, storage, count):
    settings = [f"hydra.sweeper.n_trials={count}", "hydra/sweeper/pruner=none"]
    line = search(f"hydra.sweeper.storage={storage}", *settings)
    line.remove("tracking=none")
    drivers = [study.start(tmp_path, line) for _ in range(count)]
    codes = [driver.wait(500) for driver in drivers]
    assert codes == [0] * count, (tmp_path / "driver.log").read_text()
    found = results(tmp_path)["trials"]
    found.pop("dropped", None)
    assert found == {"complete": count}
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'flag3d_exp'")
    (parent,) = client.search_runs([experiment.experiment_id])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["trials/complete"] == count


@pytest.mark.parametrize(
    "address", ["nosuch://host/db", "sqlite:////nowhere/at/all.db", "/nowhere/at/all.log"]
)
def test_a_storage_that_cannot_be_used_is_refused_in_a_line(address):
    with pytest.raises(UserError, match="`hydra.sweeper.storage="):
        open_storage(address)


def test_a_refused_storage_is_one_line_for_the_user(tmp_path):
    said = finish(tmp_path, search("hydra.sweeper.storage=nosuch://host/db"), code=1)
    assert said.strip().splitlines()[-1].startswith("error: `hydra.sweeper.storage=nosuch://")


def test_a_journal_whose_last_line_is_cut_is_gone_on_with(tmp_path, caplog):
    path = tmp_path / "study.journal"
    study = optuna.create_study(storage=open_storage(str(path)), study_name="s")
    study.enqueue_trial({"x": 1})
    study.enqueue_trial({"x": 2})
    path.write_bytes(path.read_bytes()[:-20])
    again = optuna.load_study(storage=open_storage(str(path)), study_name="s")
    assert "its last line is cut off" in caplog.text
    assert len(again.trials) == 1
    again.enqueue_trial({"x": 3})
    assert len(optuna.load_study(storage=open_storage(str(path)), study_name="s").trials) == 2
