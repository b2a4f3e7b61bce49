"""Data parallel: two ranks on the processor under msrun, as a user starts them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from cli import TINY, command, succeeded
from mlflow.tracking import MlflowClient

pytestmark = pytest.mark.slow
RUN = (*TINY, "task.epochs=2", "task.log_every=1", "model.dropout=0.3", "hydra.run.dir=run")


def msrun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The program on two ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tool = [sys.executable, "-m", "mindspore.parallel.cluster.run", "--worker_num=2"]
    tool += ["--local_worker_num=2", "--join=True", "--log_dir=msrun", f"--master_port={port}"]
    return subprocess.Popen(
        [*tool, "python", "-m", "flag3d_exp", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=300)[0]


def history(run: Path, name: str) -> list[float]:
    reports = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [report["metrics"][name] for report in reports if name in report["metrics"]]


def weights(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "checkpoints" / "last.npz") as kept:
        return {name: kept[name] for name in kept.files if name.startswith("weights/")}


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    """A working folder in which two ranks have trained with batches of 4."""
    folder = tmp_path_factory.mktemp("pair")
    process = msrun(folder, *RUN, "task.batch_size=4", "task.sync_batchnorm=true")
    output = ended(process)
    assert process.returncode == 0, output
    (folder / "output.txt").write_text(output)
    return folder


def test_two_ranks_are_one_process_with_the_doubled_batch(pair, tmp_path):
    succeeded(tmp_path, *RUN, "task.batch_size=8")
    for name in ("train/loss", "val/loss"):
        expected = history(tmp_path / "run", name)
        assert len(expected) > 1
        np.testing.assert_allclose(history(pair / "run", name), expected, rtol=2e-4)
    expected, found = weights(tmp_path / "run"), weights(pair / "run")
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=2e-3, err_msg=name)


def test_the_accuracy_is_of_every_recording(pair):
    with np.load(pair / "run" / "predictions" / "val.npz") as kept:
        hits = kept["scores"].argmax(1) == kept["labels"]
        assert len(np.unique(kept["names"])) == len(hits)
        np.testing.assert_allclose(kept["scores"].sum(1), 1, atol=1e-5)
    found = json.loads((pair / "run" / "metrics.json").read_text())
    assert found["val/top1"] == pytest.approx(100 * hits.mean())


def test_only_the_first_rank_logs_and_saves(pair):
    client = MlflowClient(f"sqlite:///{pair}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "flag3d_exp"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    output = (pair / "output.txt").read_text()
    assert output.count("2 ranks on CPU") == 1
    assert output.count("epoch 2/2") == 1
    assert not list(pair.glob("outputs"))


def test_a_stop_ends_all_ranks_and_the_run_resumes_to_the_same_end(pair, tmp_path):
    arguments = [*RUN, "task.batch_size=4", "task.sync_batchnorm=true"]
    process = msrun(tmp_path, *arguments)
    deadline = time.monotonic() + 200
    while not (tmp_path / "run" / "history.jsonl").exists():
        assert process.poll() is None and time.monotonic() < deadline, ended(process)
        time.sleep(0.05)
    ranks = [p for p in psutil.Process(process.pid).children(recursive=True) if is_worker(p)]
    ranks[-1].send_signal(signal.SIGTERM)
    output = ended(process)
    assert process.returncode != 0, output
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "flag3d_exp"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED", output
    again = msrun(tmp_path, *arguments, "task.resume=auto")
    output = ended(again)
    assert again.returncode == 0, output
    for name, value in weights(pair / "run").items():
        np.testing.assert_array_equal(weights(tmp_path / "run")[name], value, err_msg=name)


@pytest.mark.parametrize("bad", ["dataset.path=nowhere.pkl", "task.epochs=0"])
def test_ranks_that_refuse_their_settings_end_the_job_with_the_error(tmp_path, bad):
    process = msrun(tmp_path, *RUN, "task.batch_size=4", bad)
    output = ended(process)
    assert process.returncode != 0
    assert f"error: `{bad.partition('=')[0]}`" in output


def is_worker(process: psutil.Process) -> bool:
    """Whether it is a rank, not msrun's scheduler or a shell."""
    return process.environ().get("MS_ROLE") == "MS_WORKER" and "flag3d_exp" in process.cmdline()


def test_other_tasks_refuse_several_ranks(tmp_path):
    environment = {"MS_ROLE": "MS_WORKER", "RANK_ID": "0", "MS_WORKER_NUM": "2"}
    done = subprocess.run(
        command("task=summary"),
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: `task=summary` runs in one process; msrun is for `task=train` and `task=evaluate`."
    )
