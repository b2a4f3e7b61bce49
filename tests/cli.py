"""Running the program as a user does, on a network and a share of the data that take seconds."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from mlflow.tracking import MlflowClient

from flag3d_exp.runs.run_folder import History

TINY = (
    "model.base_channels=4",
    "model.num_blocks=2",
    "model.widen_at=[2]",
    "dataset.clip_len=8",
    "task.batch_size=8",
    "task.limit_batches=4",
    "device=cpu",
    "device.jit=false",
)
# A run that saves at every step, to be stopped somewhere and to end as if it had not been.
LONG = (
    *TINY,
    "task.epochs=3",
    "task.save_every=1",
    "task.log_every=1",
    "task.keep_last=2",
    "model.dropout=0.3",
)

KILLED = """
import os, signal, sys

place, name, number = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))
rename, left = os.replace, number


def replace(source, target):
    global left
    left -= os.path.basename(target) == name
    if left == 0 and place == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
    if left == 0 and place == "after":
        os.kill(os.getpid(), signal.SIGKILL)


os.replace = replace
from flag3d_exp.main import main

main()
"""


def command(*arguments: str) -> list[str]:
    """The program's command line."""
    return [sys.executable, "-m", "flag3d_exp", *arguments]


def program(
    folder: Path, *arguments: str, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run the program in `folder` and wait for it."""
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=timeout
    )


def succeeded(folder: Path, *arguments: str) -> str:
    """What a run that must succeed prints."""
    done = program(folder, *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def refused(folder: Path, *arguments: str) -> str:
    """The one line of a run that must be refused."""
    done = program(folder, *arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def started(folder: Path, *arguments: str, output: Path) -> subprocess.Popen[bytes]:
    """A run in `folder`/run, left to itself; what it says goes to the file `output`."""
    with open(output, "w") as file:
        return subprocess.Popen(
            command(*arguments, "hydra.run.dir=run"), cwd=folder, stdout=file, stderr=file
        )


def killed(folder: Path, *arguments: str, place: str, name: str, number: int) -> None:
    """A run that is killed `before` or `after` a file of this `name` is put in place.

    Args:
        number: which one of that name, from 1 on.
    """
    line = [sys.executable, "-c", KILLED, place, name, str(number), *arguments]
    done = subprocess.run(line, cwd=folder, capture_output=True, timeout=600)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def wait_for(path: Path, process: subprocess.Popen, text: str = "", seconds: float = 120) -> None:
    """Wait until the file is there and holds the text, while the process runs."""
    deadline = time.monotonic() + seconds
    while not path.exists() or text.encode() not in path.read_bytes():
        assert process.poll() is None, f"ended with {process.returncode} before {path} {text}"
        assert time.monotonic() < deadline, f"{path} {text} did not appear"
        time.sleep(0.05)


def metrics(run: Path) -> dict[str, float]:
    """Final metrics of a run folder, but for those of the clock."""
    found = json.loads((run / "metrics.json").read_text())
    found.pop("clips_per_second", None)
    return found


def client(folder: Path) -> MlflowClient:
    """Of the store in a working folder."""
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def runs(folder: Path) -> list:
    """The MLflow runs of a working folder."""
    experiment = client(folder).get_experiment_by_name("flag3d_exp")
    assert experiment is not None
    return client(folder).search_runs([experiment.experiment_id])


def tracked_series(folder: Path, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each metric of an MLflow run."""
    store = client(folder)
    return {
        name: sorted((p.step, p.value) for p in store.get_metric_history(run_id, name))
        for name in store.get_run(run_id).data.metrics
    }


def kept_series(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each metric of a run folder's history."""
    series = History(run).series()
    return {name: sorted(zip(*pairs, strict=True)) for name, pairs in series.items()}
