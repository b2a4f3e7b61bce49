"""A search with real training runs, killed in the middle, as MLflow shows it; and a real grid."""

import json
import os
import signal

import psutil
import pytest
from cli import TINY
from mlflow.tracking import MlflowClient
from sweep import study
from sweep.study import finish, results, study_folder, until

pytestmark = pytest.mark.slow


def runs(folder):
    """The MLflow runs by trial number, and their parent."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'flag3d_exp'")
    found = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in found if "mlflow.parentRunId" not in run.data.tags)
    children = {run.data.tags["trial"]: run for run in found if run is not parent}
    assert len(children) == len(found) - 1
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {
        parent.info.run_id
    }
    return client, parent, children


def command(*arguments: str) -> list[str]:
    line = study.command(*TINY, *arguments)
    line.remove("tracking=none")
    return line


def test_a_killed_search_goes_on_and_leaves_a_parent_with_children(tmp_path):
    line = command("sweep=sgd", "task.epochs=4", "hydra/sweeper/pruner=none",
                   "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2")  # fmt: skip
    driver = study.start(tmp_path, line)
    until(lambda: len(list(tmp_path.glob("multirun/*/*/checkpoints/last.npz"))) == 2, 300)
    jobs = study.job_processes(driver)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    psutil.wait_procs(jobs)

    finish(tmp_path, line)
    found = results(tmp_path)
    assert found["trials"]["complete"] == 3
    assert found["epochs"] == 12
    client, parent, children = runs(tmp_path)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["best_trial"] == str(found["best_trial"])
    assert parent.data.metrics["best_value"] == pytest.approx(found["best_value"])
    plots = {item.path for item in client.list_artifacts(parent.info.run_id, "plots")}
    assert {f"plots/{name}.png" for name in ("history", "slice", "intermediate_values")} <= plots
    assert len(children) == 3
    for child in children.values():
        assert (child.info.status, child.data.tags["trial_state"]) == ("FINISHED", "complete")
        reported = client.get_metric_history(child.info.run_id, "val/top1")
        assert [metric.step for metric in reported] == [4, 8, 12, 16]
    assert "resumed after epoch" in (study_folder(tmp_path) / "0/run.log").read_text()

    own = ("task=best", "task.train={epochs:1}", f"task.study={study_folder(tmp_path)}")
    finish(tmp_path, study.single(*own, "hydra.run.dir=best"))
    config = (tmp_path / "best/train/.hydra/overrides.yaml").read_text()
    for key, value in found["best_params"].items():
        assert f"{key}={value}" in config
    assert "val/top1" in json.loads((tmp_path / "best/train/metrics.json").read_text())


def test_a_grid_is_a_parent_with_children_and_a_table(tmp_path):
    own = ("hydra.sweeper.n_jobs=2", "hydra.sweep.dir=multirun/grid")
    finish(tmp_path, command("stream=joint,bone", "seed=1,2", "task.epochs=1", *own))
    _, parent, children = runs(tmp_path)
    assert parent.info.status == "FINISHED"
    assert {child.data.tags["trial_state"] for child in children.values()} == {"complete"}
    lines = (tmp_path / "multirun/grid/table.md").read_text().splitlines()
    assert lines[0].startswith("| stream | runs |")
    rows = [line.split("|")[1:3] for line in lines[2:4]]
    assert rows == [[" joint ", " 2 "], [" bone ", " 2 "]]
    assert sum("Welch p" in line for line in lines) == 2  # of train/top1 and val/top1
    values = [
        child.data.metrics["val/top1"]
        for child in children.values()
        if child.data.tags["stream"] == "joint"
    ]
    assert f"| {sum(values) / 2:.2f} ± " in lines[2]
    assert parent.info.run_name == "stream=joint,bone seed=1,2"
    assert parent.data.metrics["stream_joint/val/top1_mean"] == pytest.approx(sum(values) / 2)
    assert parent.data.tags["mlflow.note.content"].splitlines()[0] == lines[0]
