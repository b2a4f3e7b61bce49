"""Runs that are stopped, killed or damaged, and end as if nothing had happened."""

import pickle
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from cli import (
    LONG,
    TINY,
    kept_series,
    killed,
    metrics,
    refused,
    runs,
    started,
    succeeded,
    tracked_series,
    wait_for,
)

from flag3d_exp.data.demo.dataset import make_demo

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_run_and_it_resumes_to_the_same_end(
    tmp_path, uninterrupted, signum, code
):
    output = tmp_path / "output.txt"
    process = started(tmp_path, *LONG, output=output)
    wait_for(tmp_path / "run" / "checkpoints" / "last.npz", process)
    process.send_signal(signum)
    assert process.wait(300) == code, output.read_text()
    assert "task.resume=" in output.read_text()
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"]
    succeeded(tmp_path, "task.resume=run")
    assert metrics(tmp_path / "run") == uninterrupted
    assert [run.info.status for run in runs(tmp_path)] == ["FINISHED"]


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(tmp_path, uninterrupted):
    output = tmp_path / "output.txt"
    process = started(tmp_path, *LONG, "tracking=none", output=output)
    wait_for(tmp_path / "run" / "checkpoints" / "last-1.npz", process)
    process.kill()
    process.wait()
    last = tmp_path / "run" / "checkpoints" / "last.npz"
    last.write_bytes(last.read_bytes()[:-100])
    said = succeeded(tmp_path, "task.resume=run")
    assert "last.npz` is not a checkpoint" in said and "Trying the previous checkpoint." in said
    assert metrics(tmp_path / "run") == uninterrupted


def test_a_run_whose_folder_is_deleted_ends_with_a_line(tmp_path):
    output = tmp_path / "output.txt"
    process = started(tmp_path, *LONG, "tracking=none", output=output)
    wait_for(tmp_path / "run" / "checkpoints" / "best.npz", process)
    process.send_signal(signal.SIGSTOP)
    shutil.rmtree(tmp_path / "run")
    process.send_signal(signal.SIGCONT)
    assert process.wait(300) == 1, output.read_text()
    line = output.read_text().splitlines()[-1]
    assert line.startswith(f"error: the run folder `{tmp_path}/run` was deleted")


@pytest.mark.parametrize(
    ("place", "name", "number"),
    [
        ("before", "last.npz", 1),  # nothing is kept yet
        ("after", "last.npz", 2),  # within an epoch
        ("before", "best.npz", 1),  # the epoch is evaluated, and nothing of that is kept
        ("after", "best.npz", 1),  # the best checkpoint is of an epoch that `last` does not know
        ("after", "val.npz", 2),  # predictions without their checkpoint
        ("before", "metrics.json", 1),  # all is done but the results
    ],
)
def test_killed_where_it_matters_a_run_still_ends_as_the_uninterrupted_one(
    tmp_path, uninterrupted, place, name, number
):
    line = [*LONG, "task.resume=auto", "hydra.run.dir=run"]
    killed(tmp_path, *line, place=place, name=name, number=number)
    succeeded(tmp_path, *line)
    assert metrics(tmp_path / "run") == uninterrupted
    (run,) = runs(tmp_path)
    assert run.info.status == "FINISHED"
    assert tracked_series(tmp_path, run.info.run_id) == kept_series(tmp_path / "run")


@pytest.mark.release
def test_killed_thirty_times_a_run_still_ends_as_the_uninterrupted_one(tmp_path, uninterrupted):
    rng = np.random.default_rng(0)
    num_kills = num_runs = 0
    while num_kills < 30:  # a fast machine ends a run before it was killed thirty times
        num_runs += 1
        folder = tmp_path / str(num_runs)
        folder.mkdir()
        num_kills += killed_until_it_ends(folder, rng, at_most=30 - num_kills)
        succeeded(folder, *LONG, "task.resume=auto", "hydra.run.dir=run")
        assert metrics(folder / "run") == uninterrupted
        (run,) = runs(folder)
        assert run.info.status == "FINISHED"
        assert tracked_series(folder, run.info.run_id) == kept_series(folder / "run")


def killed_until_it_ends(folder: Path, rng: np.random.Generator, at_most: int) -> int:
    """How often the run in `folder` was killed before it ended by itself, `at_most` times."""
    for num_kills in range(at_most):
        process = started(folder, *LONG, "task.resume=auto", output=folder / "output.txt")
        if num_kills == 0:
            wait_for(folder / "run" / "history.jsonl", process)
        try:
            process.wait(2.0 + 4.0 * rng.random())
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        else:
            return num_kills
    return at_most


def test_a_signal_during_compilation_is_obeyed_before_it_ends(tmp_path):
    output = tmp_path / "output.txt"
    deep = ("model=aagcn", "model.num_blocks=10", "device.jit=true")  # compiles for ten seconds
    process = started(tmp_path, *LONG, *deep, output=output)
    wait_for(tmp_path / "run" / "mlflow.json", process)
    time.sleep(2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 143, output.read_text()
    assert "task.resume=" in output.read_text().splitlines()[-1]
    assert not (tmp_path / "run" / "checkpoints").exists()  # no step was made
    assert not (tmp_path / "rank_0").exists()
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"]


def test_a_second_signal_stops_at_once_and_leaves_a_state_to_resume(tmp_path, uninterrupted):
    process = started(tmp_path, *LONG, output=tmp_path / "output.txt")
    wait_for(tmp_path / "run" / "checkpoints" / "last.npz", process)
    process.send_signal(signal.SIGSTOP)  # so that both are there before the step ends
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert process.wait(300) in (-signal.SIGINT, -signal.SIGTERM)
    succeeded(tmp_path, "task.resume=run")
    assert metrics(tmp_path / "run") == uninterrupted
    assert [run.info.status for run in runs(tmp_path)] == ["FINISHED"]


def test_a_run_is_not_resumed_on_other_contents_of_its_file(tmp_path):
    content = make_demo("in_domain")
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(content))
    own = (*TINY, "dataset.path=data.pkl", "tracking=none", "hydra.run.dir=run")
    succeeded(tmp_path, *own, "task.epochs=1")
    before = metrics(tmp_path / "run")
    for annotation in content["annotations"]:
        annotation["keypoint"] = annotation["keypoint"] * 1.01
    path.write_bytes(pickle.dumps(content))
    line = refused(tmp_path, "task.resume=run", "task.epochs=2")
    assert "The run in `" in line and "`dataset.path (SHA-256)` was " in line
    assert metrics(tmp_path / "run") == before
