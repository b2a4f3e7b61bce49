"""A process that runs the jobs of a slot one after another.

The jobs share the imports and, if their networks have the same graph, the compiled step (see
`engine.reuse`). Each job has its own output, working directory, environment and log, as in a new
process. A process that is used up is replaced: after a job that did not succeed, after a number of
jobs, when its memory has grown, or for a job with other settings of the device.
"""

import gc
import logging
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import psutil

CHANNEL = "FLAG3D_EXP_WORKER"  # environment variable: file descriptor of the process's channel
# The messages of a process. Without a message, its end is the end of the job.
DONE, UNSUITED = "done", "unsuited"
MAX_GROWTH = 1 << 30  # bytes of memory more than after the first job
PATIENCE = 30.0  # seconds to wait for an idle process to end


@dataclass(frozen=True)
class JobRequest:
    """A job.

    Args:
        output: file that receives what the job prints.
        arguments: the words after `python -m flag3d_exp`.
        environment: further environment variables.
    """

    output: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


class Worker:
    """The processes of one slot, of which one lives at a time; used by the driver.

    Args:
        cores: the processor cores of the slot; None for all.
        max_jobs: jobs after which a process is replaced.
    """

    def __init__(self, cores: Sequence[int] | None = None, max_jobs: int = 1):
        self.cores, self.max_jobs = cores, max_jobs
        self._process: subprocess.Popen | None = None
        self._request: JobRequest | None = None  # of the running job

    @property
    def process(self) -> subprocess.Popen:
        """The process of the last job."""
        assert self._process is not None
        return self._process

    def submit(self, request: JobRequest) -> None:
        """Begin a job, in a new process if the last one has ended."""
        self._request = request
        if self._process is not None and self._process.poll() is None:
            try:
                self._send(request)
                return
            except OSError:  # it is ending
                self._process.wait()
        self._start(request)

    def code(self) -> int | None:
        """The exit code of the job; None while it runs.

        A process that takes no further job ends with the exit code of its last job.
        """
        ended = self.process.poll()  # before the channel is read, because a message precedes it
        with suppress(EOFError, OSError):
            if self._channel.poll():
                if self._channel.recv() == DONE:
                    self._request = None
                    return 0
                assert self._request is not None
                self.process.wait()
                self._start(self._request)
                return None
        return ended

    def close(self) -> None:
        """Let the process end; wait for it unless a job is running."""
        if self._process is None:
            return
        self._channel.close()
        if self._request is None:
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _start(self, request: JobRequest) -> None:
        self._channel, theirs = Pipe()
        self._process = start_process(
            (), Path(request.output), {CHANNEL: str(theirs.fileno())}, [theirs.fileno()]
        )
        theirs.close()
        if self.cores is not None:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(self._process.pid, self.cores)
        with suppress(OSError):  # that the process has ended is noticed by `code`
            self._channel.send(self.max_jobs)
            self._send(request)

    def _send(self, request: JobRequest) -> None:
        self._channel.send((request.output, list(request.arguments), dict(request.environment)))


def start_process(
    arguments: Sequence[str],
    output: Path,
    environment: Mapping[str, str],
    descriptors: Sequence[int] = (),
) -> subprocess.Popen:
    """A new process of this program, without input.

    Args:
        output: file that receives what it prints.
        environment: further environment variables.
        descriptors: file descriptors that the process inherits.
    """
    with open(output, "ab") as file:
        # Ctrl-C signals the whole process group; the driver should stop its jobs itself, in order.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "flag3d_exp", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(environment),
                pass_fds=descriptors,
            )
        finally:
            signal.signal(signal.SIGINT, before)


class Unsuited(SystemExit):
    """The job needs a new process."""


def serve(run: Callable[[Sequence[str]], object]) -> bool:
    """If this process was started by a `Worker`, run its jobs until the end; return whether.

    Args:
        run: runs the words of a command line, as the program does.
    """
    global _jobs
    descriptor = os.environ.pop(CHANNEL, None)
    if descriptor is None:
        return False
    os.set_inheritable(int(descriptor), False)
    channel = Connection(int(descriptor))
    _jobs = Jobs()
    max_jobs = channel.recv()
    for number in count(1):
        try:
            request = JobRequest(*channel.recv())
        except (EOFError, OSError):  # the driver has ended, or has no further job
            return True
        try:
            code = _code_of(request, run)
        except Unsuited:
            _tell(channel, UNSUITED)
            return True
        if code != 0 or number == max_jobs or _jobs.are_enough():
            sys.exit(code)
        _tell(channel, DONE)
    return True


def _tell(channel: Connection, message: str) -> None:
    """Send a message to the driver, if it is still there."""
    with suppress(OSError):
        channel.send(message)


def check_device(settings: Any) -> None:
    """Refuse a job with other settings of the device than the jobs before it in this process.

    Some of MindSpore's settings can't be changed after the first operation.

    Raises:
        Unsuited: the settings differ.
    """
    if _jobs is not None:
        _jobs.check_device(settings)


class Jobs:
    """The state that the jobs of a process have in common."""

    def __init__(self) -> None:
        self._device: Any = None
        self._first_size: int | None = None

    def check_device(self, settings: Any) -> None:
        """See the function of the same name."""
        if self._device not in (None, settings):
            raise Unsuited
        self._device = settings

    def are_enough(self) -> bool:
        """Whether a new process should run the next job.

        That is so if memory has grown, and on accelerators, on which reuse has not been tested.
        """
        gc.collect()
        size = psutil.Process().memory_info().rss
        if self._first_size is None:
            self._first_size = size
        if size - self._first_size > MAX_GROWTH:
            return True
        mindspore: Any = sys.modules.get("mindspore")
        return mindspore is not None and mindspore.get_context("device_target") != "CPU"


_jobs: Jobs | None = None  # None: this process is not a worker's


def _code_of(request: JobRequest, run: Callable[[Sequence[str]], object]) -> int:
    """Run a job and return its exit code.

    Raises:
        Unsuited: the job was not begun.
    """
    with _as_in_a_new_process(request):
        try:
            run(request.arguments)
        except Unsuited:
            raise
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            return 1
    return 0


@contextmanager
def _as_in_a_new_process(request: JobRequest) -> Iterator[None]:
    """Redirect the output to the job's file; restore what the job changes in this process."""
    with open(request.output, "ab") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    arguments, folder, environment = sys.argv[:], Path.cwd(), dict(os.environ)
    os.environ.update(request.environment)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for handler in logging.getLogger().handlers[:]:
            logging.getLogger().removeHandler(handler)
            handler.close()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.argv[:] = arguments
        os.chdir(folder)
        for key in os.environ.keys() - environment.keys():
            del os.environ[key]
        os.environ.update(environment)
