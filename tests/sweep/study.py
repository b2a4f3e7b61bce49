"""Running studies of the toy task as a user does, in processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import yaml

TESTS = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
    "OMP_NUM_THREADS": "1",
}
SEARCH = ("sweep=search", "task=toy", "task.x=interval(0.0,6.0)")


def single(*arguments: str) -> list[str]:
    """A single run."""
    config_dir = str(TESTS / "sweep" / "conf")
    return [sys.executable, "-m", "flag3d_exp", "--config-dir", config_dir, *arguments]


def command(*arguments: str) -> list[str]:
    """A sweep without tracking, for speed."""
    return single("-m", "tracking=none", *arguments)


def search(*arguments: str) -> list[str]:
    """A search with the toy task."""
    return command(*SEARCH, "hydra.sweeper.plots=false", *arguments)


def start(folder: Path, line: list[str]) -> subprocess.Popen:
    """Start a driver in a process group of its own, its output in driver.log."""
    with open(folder / "driver.log", "ab") as output:
        return subprocess.Popen(
            line, cwd=folder, env=ENVIRONMENT, stdout=output, stderr=output, start_new_session=True
        )


def finish(folder: Path, line: list[str], code: int = 0) -> str:
    """Run a driver to its end, which must be `code`; what it said."""
    done = subprocess.run(
        line, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def study_folder(folder: Path) -> Path:
    """The only study under `folder`."""
    (found,) = (folder / "multirun").iterdir()
    return found


def results(folder: Path) -> dict:
    """optimization_results.yaml of the only study."""
    path = study_folder(folder) / "optimization_results.yaml"
    return yaml.safe_load(path.read_text())


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def num_epochs(folder: Path, number: str) -> int:
    """Epochs that the toy of a trial has gone through, over all its processes."""
    path = folder / "multirun"
    found = list(path.glob(f"*/{number}/history.jsonl"))
    return len(found[0].read_text().splitlines()) if found else 0


def kill(processes: Iterable[psutil.Process]) -> None:
    """kill -9."""
    for process in processes:
        process.kill()


def job_processes(driver: subprocess.Popen) -> list[psutil.Process]:
    """The jobs that a driver has started."""
    return psutil.Process(driver.pid).children()
