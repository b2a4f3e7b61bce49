import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from omegaconf import OmegaConf
from servers import MlflowServer, answer, free_port

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.credentials import KEPT
from flag3d_exp.errors import UserError
from flag3d_exp.runs.run_folder import History, Report
from flag3d_exp.runs.tracking import Tracker, Tracking, connect, settle


def settings(folder: Path, **others) -> Tracking:
    return Tracking(uri=f"sqlite:///{folder}/mlflow.db", **others)


@pytest.mark.parametrize(("task", "expected"), [("Train", ""), ("Evaluate", "evaluate-")])
def test_a_run_is_named_after_what_it_does_first(tmp_path, task, expected):
    cfg = OmegaConf.create(
        {
            "task": {"_target_": f"tasks.{task}"},
            "model": {"_target_": "models.STGCN"},
            "stream": {"name": "bone"},
            "dataset": {"name": "demo"},
            "seed": 3,
        }
    )
    assert Experiment(cfg, tmp_path, {}).title == f"{expected}STGCN-bone-demo-3"


def test_a_run_arrives_with_its_parameters_metrics_data_and_files(tmp_path):
    tracker = settings(tmp_path).start("name", {"model": "x"})
    tracker.log_parameters({f"key{i}": i for i in range(250)} | {"long": "x" * 7000})
    history = History(tmp_path)
    for step in (1, 2):
        report = history.add(step, {"train/loss": 1.0 / step})
        assert report is not None
        tracker.log_report(report)
    tracker.log_dataset("/data/file.pkl", "demo", "0123456789" * 6, "train")
    (tmp_path / "note.txt").write_text("hello")
    tracker.log_artifact(tmp_path / "note.txt", "notes")
    assert tracker.finish("FINISHED")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "name")
    assert len(run.data.params) == 251
    points = client.get_metric_history(tracker.run_id, "train/loss")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 0.5)]
    assert run.inputs.dataset_inputs[0].dataset.name == "demo"
    assert [item.path for item in client.list_artifacts(tracker.run_id, "notes")] == [
        "notes/note.txt"
    ]


def test_a_run_can_be_reopened(tmp_path):
    first = settings(tmp_path).start("name", {})
    first.finish("KILLED")
    again = settings(tmp_path).start("other", {}, first.run_id)
    assert again.run_id == first.run_id
    assert again.finish("FINISHED")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert client.get_run(first.run_id).info.status == "FINISHED"


def tracked(tracker: Tracker) -> Run:
    """The run in the store of the `store` fixture, once its tracker has finished."""
    assert tracker.run_id is not None
    return MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db").get_run(tracker.run_id)


def test_a_refused_name_costs_neither_the_other_metrics_nor_parameters_nor_tags(store, caplog):
    tracker = Tracking(uri=store).start("name", {"a": "1", "x@y": "2"})
    for step in (1, 2):
        tracker.log_report(Report(step, step, {"val/top1": 50.0, "../up": 1.0, "val/loss": 2.0}))
    tracker.log_parameters({"seed": 1, "x@y": 2, "task.epochs": 3})
    tracker.set_tags({"best": "1", "x@y": "2"})
    assert tracker.finish("FINISHED")
    data = tracked(tracker).data
    assert set(data.metrics) == {"val/top1", "val/loss"}
    assert data.params == {"seed": "1", "task.epochs": "3"}
    assert {"a", "best"} <= set(data.tags)
    said = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert said == [
        "MLflow refused the metric `../up`",
        "MLflow refused the parameter `x@y`",
        "MLflow refused the tag `x@y`",
    ]


def test_a_place_for_artifacts_that_cannot_be_written_costs_the_artifacts_alone(store, caplog):
    connect(store).create_experiment("flag3d_exp", artifact_location="/proc/nowhere")
    tracker = Tracking(uri=store).start("name", {})
    for name in ("a.txt", "b.txt"):
        Path(name).write_text("x")
        tracker.log_artifact(Path(name))
    tracker.log_report(Report(1, 1, {"val/top1": 50.0}))
    assert tracker.finish("FINISHED")
    run = tracked(tracker)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"val/top1": 50.0})
    assert [record.getMessage() for record in caplog.records] == [
        "MLflow's place for files cannot be used (No such file or directory: /proc/nowhere); "
        "they are in the run folder."
    ]


def test_parameters_that_a_resumed_run_changes_become_tags_without_a_word(store, caplog):
    first = Tracking(uri=store).start("name", {})
    first.log_parameters({"task.epochs": 2, "seed": 1})
    first.finish("KILLED")
    again = Tracking(uri=store).start("name", {}, first.run_id)
    again.log_parameters({"task.epochs": 3, "seed": 1, "task.resume": "auto"})
    assert again.finish("FINISHED")
    data = tracked(again).data
    assert data.params == {"task.epochs": "2", "seed": "1", "task.resume": "auto"}
    assert data.tags["resumed.task.epochs"] == "3"
    assert "resumed.seed" not in data.tags
    assert caplog.records == []


def test_a_deleted_experiment_is_named_as_such(store):
    client = connect(store)
    client.delete_experiment(client.create_experiment("flag3d_exp"))
    with pytest.raises(
        UserError, match="^`tracking.experiment=flag3d_exp` is deleted in .*restore"
    ):
        Tracking(uri=store).start("name", {})
    assert Tracking(uri=store, experiment="other").start("name", {}).finish("FINISHED")


def test_a_deleted_run_is_named_as_such(store):
    first = Tracking(uri=store).start("name", {})
    first.finish("KILLED")
    connect(store).delete_run(first.run_id)
    with pytest.raises(UserError, match=f"The MLflow run `{first.run_id}`.* is deleted in"):
        Tracking(uri=store).start("name", {}, first.run_id)


@pytest.mark.parametrize(
    "response", [answer("200 OK"), answer("200 OK", b"{}"), answer("200 OK", b'{"run": {}}')]
)
def test_a_server_that_says_nothing_is_no_mlflow_server(serve, response):
    settings = Tracking(uri=serve(response))
    for run_id in (None, "0" * 32):
        with pytest.raises(UserError, match="answers, but not as an MLflow server"):
            settings.start("name", {}, run_id)


def test_the_environment_names_the_store_unless_the_settings_do(store, monkeypatch, caplog):
    monkeypatch.setenv(KEPT, "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@host")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert (Tracking().uri, Tracking().experiment) == ("http://user:***@host", "mine")
    assert Tracking(uri=store).uri == store
    group = {"uri": "auto", "experiment": "given"}
    with caplog.at_level(logging.INFO):
        settle(group)
    assert group == {"uri": "http://user:***@host", "experiment": "given"}
    assert [record.getMessage() for record in caplog.records] == [
        "`tracking.uri` is taken from MLFLOW_TRACKING_URI"
    ]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    assert (Tracking().uri, Tracking().experiment) == ("sqlite:///mlflow.db", "flag3d_exp")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A block in which the process can read, but not write the folder and the files in it."""
    closed = [folder, *folder.iterdir()]
    for path in closed:
        path.chmod(0o555 if path.is_dir() else 0o444)
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)
        for path in closed:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_store_that_is_read_only_is_named_in_one_line(empty_store, open_folder):
    shutil.copy(empty_store, open_folder / "mlflow.db")
    uri = f"sqlite:///{open_folder}/mlflow.db"
    Tracking(uri=uri).start("name", {}).finish("FINISHED")
    with read_only(open_folder):
        with pytest.raises(UserError) as caught:
            Tracking(uri=uri).start("name", {})
        assert connect(uri).search_experiments()  # reading takes no more than reading
    assert "cannot be used: attempt to write a readonly database. Accepted" in str(caught.value)


def test_a_store_in_a_read_only_folder_is_not_made(open_folder):
    with read_only(open_folder), pytest.raises(UserError, match="unable to open database file"):
        Tracking(uri=f"sqlite:///{open_folder}/mlflow.db").start("name", {})


def test_without_tracking_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = Tracking(uri=None).start("name", {})
    tracker.log_parameters({"a": 1})
    assert tracker.finish("FINISHED")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_used_is_named_in_one_line(tmp_path):
    (tmp_path / "folder.db").mkdir()
    away = f"http://127.0.0.1:{free_port()}"
    for uri in (f"sqlite:///{tmp_path}/folder.db", "nonsense://x", away):
        with pytest.raises(UserError, match="`tracking.uri=") as caught:
            connect(uri)
        assert "\n" not in str(caught.value)
        assert "tracking=none" in str(caught.value)


def test_reports_already_made_are_not_made_twice(tmp_path):
    first = History(tmp_path)
    first.add(1, {"train/loss": 1.0})
    first.add(1, {"val/top1": 50.0})
    with open(first.path, "a") as file:
        file.write('{"step": 2, "times')  # a process killed while writing
    again = History(tmp_path)
    assert again.add(1, {"train/loss": 1.0}) is None
    assert again.add(2, {"train/loss": 0.5}) is not None
    assert History(tmp_path).series() == {
        "train/loss": ([1, 2], [1.0, 0.5]),
        "val/top1": ([1], [50.0]),
    }


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, pytest.param(8, marks=pytest.mark.release)])
def test_processes_share_a_fresh_store(tmp_path, count):
    code = (
        "import sys\nfrom flag3d_exp.runs.tracking import Tracking\n"
        "tracker = Tracking(uri=sys.argv[1]).start('n', {})\n"
        "sys.exit(not tracker.finish('FINISHED'))"
    )
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, uri], stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for process in processes:
        said = process.communicate(timeout=300)[1]
        assert process.returncode == 0, said
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("flag3d_exp")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == count


@pytest.fixture
def server(tmp_path):
    server = MlflowServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.slow
def test_a_server_that_goes_away_gets_everything_when_it_is_back(tmp_path, server, caplog):
    tracker = Tracking(uri=server.uri, patience=120).start("name", {})
    history = History(tmp_path)

    def report(step: int) -> None:
        made = history.add(step, {"train/loss": 1.0 / step})
        assert made is not None
        tracker.log_report(made)

    report(1)
    server.stop()
    with caplog.at_level(logging.WARNING):
        for step in range(2, 12):  # which return, though the server starts after them only
            report(step)
        time.sleep(3)
        server.start()
        assert tracker.finish("FINISHED")
    assert "server is away" in caplog.text and "server is back" in caplog.text
    client = MlflowClient(server.uri)
    points = client.get_metric_history(tracker.run_id, "train/loss")
    assert [(point.step, point.value) for point in points] == [(s, 1.0 / s) for s in range(1, 12)]
    assert client.get_run(tracker.run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_a_server_that_stays_away_does_not_keep_a_run_from_ending(tmp_path, server, caplog):
    tracker = Tracking(uri=server.uri, patience=1).start("name", {})
    server.stop()
    report = History(tmp_path).add(1, {"train/loss": 1.0})
    assert report is not None
    tracker.log_report(report)
    with caplog.at_level(logging.WARNING):
        assert not tracker.finish("FINISHED")
    assert "run folder" in caplog.text
    deadline = time.monotonic() + 60
    while any(thread.name == "tracking" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the delivery thread goes on"
        time.sleep(0.2)
