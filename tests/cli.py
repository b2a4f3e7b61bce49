"""Running the program as a user does, on a network and a share of the data that take seconds."""

import atexit
import io
import json
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow.tracking import MlflowClient

import flag3d_exp
from flag3d_exp.main import main
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

# A fork of a process that has imported these starts seconds sooner than a new one.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "matplotlib.backends.backend_agg",
        "mindspore.dataset",
        "mlflow.store.tracking.sqlalchemy_store",
        "optuna.storages.journal",
        "optuna.visualization.matplotlib",
        "scipy.stats",
        "hydra_plugins.flag3d_exp_sweeper",
        *(
            module.name
            for module in pkgutil.walk_packages(flag3d_exp.__path__, "flag3d_exp.")
            if not module.name.endswith("__main__")
        ),
    ]
)


@atexit.register
def kill_the_rest() -> None:
    """Kill what a failed test has left running; multiprocessing would wait for it."""
    for process in multiprocessing.active_children():
        process.kill()


def command(*arguments: str) -> list[str]:
    """The program's command line."""
    return [sys.executable, "-m", "flag3d_exp", *arguments]


class Started:
    """The program in a process of its own, with the interface of `subprocess.Popen`.

    Args:
        folder, arguments: where it runs, and its words.
        stdout, stderr: files to which its output is added.
        environment: its environment variables; None for those of this process.
        session: give it a session of its own.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[str],
        stdout: Path,
        stderr: Path,
        environment: Mapping[str, str] | None = None,
        session: bool = False,
    ):
        self.args = command(*arguments)
        environment = dict(os.environ if environment is None else environment)
        streams = (str(stdout), str(stderr))
        self._process = FORKS.Process(
            target=_serve, args=(folder, arguments, environment, session, *streams)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def program(
    folder: Path,
    *arguments: str,
    timeout: float = 300,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the program in `folder` and wait for it."""
    with tempfile.TemporaryDirectory() as said:
        streams = [Path(said, name) for name in ("stdout", "stderr")]
        process = Started(folder, arguments, *streams, environment)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        texts = [stream.read_text(encoding="utf-8") for stream in streams]
    return subprocess.CompletedProcess(process.args, code, *texts)


def _serve(
    folder: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    session: bool,
    *streams: str,
) -> None:
    """What a new process does with `python -m flag3d_exp`."""
    if session:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name, number, path in zip(("stdout", "stderr"), (1, 2), streams, strict=True):
        with open(path, "ab") as file:
            os.dup2(file.fileno(), number)
        text = io.TextIOWrapper(io.FileIO(number, "w"), "utf-8", "backslashreplace")
        setattr(sys, name, text)
    given = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(folder), *filter(None, given)]
    sys.argv = [str(Path(flag3d_exp.__file__).with_name("__main__.py")), *arguments]
    try:
        main()
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out


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


def started(folder: Path, *arguments: str, output: Path) -> Started:
    """A run in `folder`/run, left to itself; what it says goes to the file `output`."""
    return Started(folder, (*arguments, "hydra.run.dir=run"), output, output)


def killed(folder: Path, *arguments: str, place: str, name: str, number: int) -> None:
    """A run that is killed `before` or `after` a file of this `name` is put in place.

    Args:
        number: which one of that name, from 1 on.
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as said:
        process = FORKS.Process(
            target=_serve_until,
            args=(place, name, number, folder, arguments, os.environ.copy(), said.name),
        )
        process.start()
        process.join(600)
        assert process.exitcode == -signal.SIGKILL, said.read()


def _serve_until(
    place: str,
    name: str,
    number: int,
    folder: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: str,
) -> None:
    rename, left = os.replace, number

    def replace(source, target):
        nonlocal left
        left -= os.path.basename(target) == name
        if left == 0 and place == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if left == 0 and place == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    _serve(folder, arguments, environment, False, output, output)


def wait_for(
    path: Path, process: Started | subprocess.Popen, text: str = "", seconds: float = 120
) -> None:
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
