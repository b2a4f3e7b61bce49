import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from flag3d_exp.sweep import job
from flag3d_exp.sweep.job import Job, slot_cores

GRACE = 100.0
WAITS = "echo ready; while :; do sleep 0.02; done"


@pytest.mark.parametrize(
    ("cores", "num_slots", "expected"),
    [
        ({0, 1}, 1, [None]),
        ({0, 1}, 2, [[0], [1]]),
        ({2, 3, 5, 7, 8}, 2, [[2, 3], [5, 7]]),
        ({0, 1}, 3, [[0], [1], [0]]),
    ],
)
def test_slots_share_the_cores_without_overlap(monkeypatch, cores, num_slots, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    assert [slot_cores(slot, num_slots) for slot in range(num_slots)] == expected


@pytest.fixture
def shell(tmp_path) -> Iterator[Callable[[str], Job]]:
    """A function that makes a job of a shell script, which has printed its first line."""
    started = []

    def start(script: str) -> Job:
        process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        (tmp_path / "output.log").write_bytes(process.stdout.readline())
        return Job(0, tmp_path, 0, process)

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The only element is the time, which a test sets."""
    now = [0.0]
    monkeypatch.setattr(job.time, "monotonic", lambda: now[0])
    return now


def suspend(one: Job) -> None:
    """Stop the process as SIGSTOP does, and wait until it has stopped."""
    one.process.send_signal(signal.SIGSTOP)
    os.waitpid(one.process.pid, os.WUNTRACED)


def test_a_suspended_job_is_killed_after_the_grace_and_says_so(shell, clock):
    one = shell(WAITS)
    suspend(one)
    for now in (0.0, GRACE - 1):
        clock[0] = now
        one.end_if_stuck(GRACE)
        assert psutil.Process(one.process.pid).status() == psutil.STATUS_STOPPED
    clock[0] = GRACE
    one.end_if_stuck(GRACE)
    assert one.process.wait() == -signal.SIGKILL
    assert one.how_it_ended() == "the process was suspended for 100 s: ready"


def test_a_job_that_was_suspended_only_in_between_lives(shell, clock):
    one = shell(WAITS)
    suspend(one)
    one.end_if_stuck(GRACE)
    one.process.send_signal(signal.SIGCONT)
    clock[0] = GRACE - 1
    while psutil.Process(one.process.pid).status() == psutil.STATUS_STOPPED:
        pass
    one.end_if_stuck(GRACE)
    suspend(one)
    clock[0] = GRACE + 1
    one.end_if_stuck(GRACE)
    assert one.killed is None and one.returncode() is None


def test_a_suspended_job_is_woken_to_save_its_state(shell):
    one = shell(f"trap 'exit 7' TERM; {WAITS}")
    suspend(one)
    one.stop()
    assert one.process.wait() == 7
    assert one.how_it_ended() == "the process ended with exit code 7: ready"


def test_a_job_that_does_not_stop_is_killed_after_the_grace(shell, clock):
    one = shell(f"trap '' TERM; {WAITS}")
    one.stop()
    clock[0] = GRACE - 1
    one.end_if_stuck(GRACE)
    assert one.killed is None
    clock[0] = GRACE
    one.end_if_stuck(GRACE)
    assert one.process.wait() == -signal.SIGKILL
    assert one.how_it_ended() == "the process did not stop within 100 s: ready"


def test_what_a_job_has_started_ends_with_it(shell):
    one = shell("sleep 600 & echo $!; wait")
    child = psutil.Process(int((one.folder / "output.log").read_text()))
    one.end("was ended")
    assert one.process.wait() == -signal.SIGKILL
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        pass


@pytest.mark.parametrize("name", ["KILL", "ABRT"])
def test_a_job_killed_by_the_system_is_said_to_lack_memory_perhaps(shell, name):
    one = shell(f"echo ready; kill -{name} $$")
    one.process.wait()
    number = signal.Signals[f"SIG{name}"].value
    expected = f"the process was killed by signal {number}, perhaps for lack of memory: ready"
    assert one.how_it_ended() == expected


def test_last_words_are_those_of_the_log(tmp_path, shell):
    one = shell(WAITS)
    Path(tmp_path, "output.log").write_text("error: one\n  two\n")
    assert one.last_words() == "error: one two"
