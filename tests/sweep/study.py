"""Running studies of the toy task as a user does, in processes of their own."""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import yaml
from cli import Started, program

TESTS = Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
    "OMP_NUM_THREADS": "1",
}
SEARCH = ("sweep=search", "task=toy", "task.x=interval(0.0,6.0)")


def single(*arguments: str) -> list[str]:
    """The words of a single run."""
    return ["--config-dir", str(TESTS / "sweep" / "conf"), *arguments]


def command(*arguments: str) -> list[str]:
    """A sweep without tracking, for speed."""
    return single("-m", "tracking=none", *arguments)


def search(*arguments: str) -> list[str]:
    """A search with the toy task."""
    return command(*SEARCH, "hydra.sweeper.plots=false", *arguments)


def start(folder: Path, line: list[str]) -> Started:
    """Start a driver in a process group of its own, its output in driver.log."""
    output = folder / "driver.log"
    return Started(folder, line, output, output, ENVIRONMENT, session=True)


def finish(folder: Path, line: list[str], code: int = 0) -> str:
    """Run a driver to its end, which must be `code`; what it said."""
    done = program(folder, *line, environment=ENVIRONMENT)
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


def job_processes(driver: Started) -> list[psutil.Process]:
    """The jobs that a driver has started."""
    return psutil.Process(driver.pid).children()
