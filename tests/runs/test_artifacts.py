"""What an MLflow run id stands for: the run's own files, whatever became of its folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from flag3d_exp.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from flag3d_exp.errors import UserError
from flag3d_exp.files import write_json
from flag3d_exp.runs.references import find_checkpoint, find_run_folder, open_run
from flag3d_exp.runs.tracking import Tracking, connect


@pytest.fixture(autouse=True)
def uri(tmp_path, monkeypatch) -> str:
    """A store in a working folder with a cache that nothing else uses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return store(tmp_path)


def store(folder: Path) -> str:
    """Absolute, since MLflow keeps stores open by their URI."""
    return f"sqlite:///{folder}/mlflow.db"


def ran(folder: Path, weight: float, ended: bool = True) -> str:
    """A finished run in `folder`, whose only weight tells it from others; its MLflow id."""
    tracker = Tracking(uri=store(folder.parent)).start("run", {"run_folder": str(folder)})
    assert tracker.run_id is not None
    folder.mkdir()
    best = folder / "checkpoints" / "best.npz"
    save_checkpoint(best, Checkpoint({"w": np.array([weight])}))
    scores = folder / "predictions" / "val.npz"
    scores.parent.mkdir()
    np.savez(scores, names=np.array(["a"]), labels=np.array([0]), scores=np.eye(2)[:1])
    config = folder / ".hydra" / "config.yaml"
    config.parent.mkdir()
    config.write_text(json.dumps({"stream": {"name": f"stream {weight:g}"}}))
    write_json(folder / "mlflow.json", {"uri": store(folder.parent), "run_id": tracker.run_id})
    tracker.log_artifact(best, "checkpoints")
    tracker.log_artifact(scores, "predictions")
    tracker.log_artifact(config, "config")
    tracker.log_artifact(config, "figures")
    tracker.finish("FINISHED")
    if not ended:  # but resumed
        connect(store(folder.parent)).update_run(tracker.run_id, status="RUNNING")
    return tracker.run_id


def weight(run_id: str, uri: str) -> float:
    """The weight that the run's best checkpoint holds."""
    return float(load_checkpoint(find_checkpoint(run_id, "task.checkpoint", uri)).weights["w"][0])


def test_a_run_id_stands_for_the_run_s_folder(tmp_path, uri):
    run_id = ran(tmp_path / "run", 1.0)
    found = find_checkpoint(run_id, "task.checkpoint", uri)
    assert found == tmp_path / "run" / "checkpoints" / "best.npz"
    assert find_run_folder(run_id, "task.resume", uri) == tmp_path / "run"


@pytest.mark.parametrize("reused", [False, True])
def test_a_run_whose_folder_is_gone_or_used_by_another_is_taken_from_its_artifacts(
    tmp_path, uri, reused
):
    first = ran(tmp_path / "run", 1.0)
    shutil.rmtree(tmp_path / "run")
    if reused:
        assert weight(ran(tmp_path / "run", 2.0), uri) == 2.0
    assert weight(first, uri) == 1.0
    run = open_run(first, uri)
    assert run.config["stream"]["name"] == "stream 1"
    assert list(run.predictions) == ["val"]
    assert not (run.folder / "figures").exists()  # no task reads them


def test_artifacts_of_a_run_that_has_ended_are_downloaded_once(tmp_path, uri):
    run_id = ran(tmp_path / "run", 1.0)
    shutil.rmtree(tmp_path / "run")
    first = find_checkpoint(run_id, "task.checkpoint", uri)
    shutil.rmtree(tmp_path / "mlruns")
    assert find_checkpoint(run_id, "task.checkpoint", uri) == first
    assert weight(run_id, uri) == 1.0


def test_artifacts_of_a_running_run_are_read_again(tmp_path, uri):
    run_id = ran(tmp_path / "run", 1.0, ended=False)
    shutil.rmtree(tmp_path / "run")
    first, second = (find_checkpoint(run_id, "task.checkpoint", uri) for _ in range(2))
    assert first != second and weight(run_id, uri) == 1.0


def test_a_run_whose_folder_holds_another_is_not_resumed_there(tmp_path, uri):
    first = ran(tmp_path / "run", 1.0)
    shutil.rmtree(tmp_path / "run")
    ran(tmp_path / "run", 2.0)
    with pytest.raises(UserError, match=f"`task.resume`: MLflow run `{first}` has no run folder"):
        find_run_folder(first, "task.resume", uri)


def test_an_unknown_run_is_named(tmp_path, uri):
    for _ in ("no store", "a store that does not know it"):
        with pytest.raises(UserError, match="`task.checkpoint`: MLflow run `0{32}`"):
            find_checkpoint("0" * 32, "task.checkpoint", uri)
        ran(tmp_path / "run", 1.0)
        shutil.rmtree(tmp_path / "run")
