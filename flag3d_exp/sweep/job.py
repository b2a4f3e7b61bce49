"""One job of a sweep, in a process of its slot or passed to a Hydra launcher."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from omegaconf import DictConfig

from flag3d_exp.config.command_line import (
    CommandLine,
    assignment,
    select,
    shell_command,
    within,
)
from flag3d_exp.runs.run_folder import PREPARED
from flag3d_exp.sweep.trial import PRUNER, JobSettings
from flag3d_exp.sweep.worker import JobRequest, Worker, start_process

OUTPUT = "output.log"
HANDED_ON = "FLAG3D_EXP_JOB"  # environment variable: the overrides to pass to a launcher
NOT_PASSED_ON = ("hydra.sweep", "hydra.sweeper", "hydra/sweeper", "hydra.launcher",
                 "hydra/launcher", "hydra.mode", "hydra.run")  # fmt: skip


@dataclass
class Job:
    """A started job: its process and the folder of its run.

    Args:
        process: runs the job.
        worker: started the process, which may run further jobs; None: the process is the job's own.
        killed: why the driver had to end it.
    """

    number: int
    folder: Path
    slot: int
    process: subprocess.Popen
    worker: Worker | None = None
    killed: str | None = None
    _code: int | None = None
    _asked: float | None = None
    _suspended: float | None = None

    def returncode(self) -> int | None:
        """The exit code of the job; None while it runs."""
        if self._code is None and self.worker is None:
            self._code = self.process.poll()
        elif self._code is None and self.worker is not None:
            self._code = self.worker.code()
            self.process = self.worker.process
        return self._code

    def stop(self, launched: psutil.Process | None = None) -> None:
        """Ask the process to save its state and end; resume it first if it is suspended.

        Args:
            launched: the process to ask, if a launcher started another process for the run.
        """
        self._asked = time.monotonic()
        for signum in (signal.SIGTERM, signal.SIGCONT):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                (launched or self.process).send_signal(signum)

    def end_if_stuck(self, grace: float, launched: psutil.Process | None = None) -> None:
        """Kill a job that was suspended, or has not stopped on request, for `grace` seconds."""
        now = time.monotonic()
        if not any(_is_suspended(one) for one in self._tree(launched)):
            self._suspended = None
        elif self._suspended is None:
            self._suspended = now
        if self._suspended is not None and now - self._suspended >= grace:
            self.end(f"was suspended for {grace:g} s", launched)
        elif self._asked is not None and now - self._asked >= grace:
            self.end(f"did not stop within {grace:g} s", launched)

    def end(self, why: str, launched: psutil.Process | None = None) -> None:
        """Kill the process; it can't save its state."""
        self.killed = self.killed or why
        for one in self._tree(launched):
            with suppress(psutil.NoSuchProcess):
                one.kill()

    def how_it_ended(self) -> str:
        """How the process ended, and the end of its output."""
        code = self.returncode()
        assert code is not None
        if self.killed:
            return f"the process {self.killed}: {self.last_words()}"
        if code >= 0:
            return f"the process ended with exit code {code}: {self.last_words()}"
        # When memory runs out, the kernel sends SIGKILL, and C++ code ends with SIGABRT.
        hint = ", perhaps for lack of memory" if -code in (signal.SIGKILL, signal.SIGABRT) else ""
        return f"the process was killed by signal {-code}{hint}: {self.last_words()}"

    def _tree(self, launched: psutil.Process | None) -> list[psutil.Process]:
        """The process, its descendants, and the one that a launcher started."""
        found = [] if launched is None else [launched]
        with suppress(psutil.NoSuchProcess):
            if self.process.poll() is None:
                own = psutil.Process(self.process.pid)
                found += [own, *own.children(recursive=True)]
        return found

    def last_words(self) -> str:
        """The end of the output, for an error without another explanation."""
        path = self.folder / OUTPUT
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return " ".join(" ".join(lines[-6:]).split())[-300:]


def start(
    number: int,
    folder: Path,
    slot: int,
    overrides: Sequence[str],
    job_settings: JobSettings,
    worker: Worker | None,
) -> Job:
    """Start a job.

    Args:
        overrides: of the run, without its folder.
        worker: of the slot; None: pass the job to the Hydra launcher that the command line of this
            process chose.
    """
    job_settings.write(folder)
    environment = {PREPARED: str(folder), PRUNER: json.dumps(job_settings.pruner)}
    if worker is None:
        return Job(number, folder, slot, _launch(folder, overrides, environment))
    arguments = [
        *CommandLine.parse(sys.argv[1:]).config_flags,
        *overrides,
        *hydra_overrides(),
        "hydra.mode=RUN",
        assignment("hydra.run.dir", str(folder)),
    ]
    worker.submit(JobRequest(str(folder / OUTPUT), arguments, environment))
    return Job(number, folder, slot, worker.process, worker)


def _launch(
    folder: Path, overrides: Sequence[str], environment: Mapping[str, str]
) -> subprocess.Popen:
    """A process that passes a job to a Hydra launcher and waits for it."""
    arguments = [
        *sys.argv[1:],
        assignment("hydra.sweep.dir", str(folder.parent)),
        assignment("hydra.sweep.subdir", folder.name),
    ]
    return start_process(
        arguments, folder / OUTPUT, {**environment, HANDED_ON: json.dumps(list(overrides))}
    )


def placing(
    devices: Sequence[int] | None, slot: int, task: Container[object], folder: Path
) -> list[str]:
    """The overrides that depend on a job's slot and folder: its device, and whether it resumes.

    Args:
        devices: device ids, assigned to the slots in turn; empty: the configured device.
        task: the settings of the task; a task without `resume` starts again.
        folder: of the job.
    """
    lines = [f"device.id={devices[slot % len(devices)]}"] if devices else []
    if "resume" in task and (folder / "history.jsonl").exists():
        lines.append("task.resume=auto")
    return lines


def _is_suspended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def slot_cores(slot: int, num_slots: int) -> list[int] | None:
    """The cores of a slot if the slots share the machine; None if the cores can't be divided.

    MindSpore's kernel threads busy-wait for each other and yield. Processes on the same cores then
    take each other's time slices: two trainings on the same two cores each ran at an eighth of
    their speed.
    """
    if num_slots == 1 or not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // num_slots
    if share == 0:
        return [cores[slot % len(cores)]]
    return cores[slot * share : (slot + 1) * share]


@contextmanager
def workers(
    num_slots: int, runs_per_process: int, config: DictConfig
) -> Iterator[list[Worker | None]]:
    """The worker of each slot during the block; None for each if jobs are passed to a launcher."""
    if config.hydra.runtime.choices.get("hydra/launcher") != "basic":
        yield [None] * num_slots
        return
    found = [Worker(slot_cores(slot, num_slots), runs_per_process) for slot in range(num_slots)]
    try:
        yield [*found]
    finally:
        for worker in found:
            worker.close()


def handed_on() -> list[str] | None:
    """The overrides to pass to a launcher, if a driver started this process for that; else None."""
    lines = os.environ.get(HANDED_ON)
    return json.loads(lines) if lines is not None else None


def hydra_overrides() -> list[str]:
    """The settings of Hydra on the command line that also apply to a job."""
    overrides = CommandLine.parse(sys.argv[1:]).overrides
    return select(overrides, lambda key: within(key, "hydra") and not within(key, *NOT_PASSED_ON))


def command_line(folder: Path | None = None) -> str:
    """The command of this process, for a shell.

    Args:
        folder: the sweep's folder, if the command must name it.
    """
    line = CommandLine.parse(sys.argv[1:])
    if folder is not None:
        line = line.without("hydra.sweep.dir")
    named = [] if folder is None else [assignment("hydra.sweep.dir", str(folder))]
    return shell_command(line.argv(after=named))
