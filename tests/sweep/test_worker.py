"""Processes that run several jobs of a sweep one after another."""

import json
import os
import subprocess
import sys
from multiprocessing.connection import Pipe
from pathlib import Path

import psutil
import pytest
from cli import TINY, metrics, succeeded
from sweep import study
from sweep.study import command, finish, num_epochs, results, search, study_folder, until

from flag3d_exp.engine.checkpoint import load_meta
from flag3d_exp.sweep.worker import CHANNEL, DONE, UNSUITED

# Runs its words as Python: `serve` with a program that a test can look into.
SERVER = """
import sys
from flag3d_exp.sweep import worker
worker.serve(lambda words: exec(words[0]))
"""


class Server:
    """A process that serves as a worker's, and the other end of its channel."""

    def __init__(self, folder: Path, max_jobs: int = 9):
        self.folder, self.count = folder, 0
        self.channel, theirs = Pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=folder,
            env=os.environ | {CHANNEL: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self.channel.send(max_jobs)

    def run(self, program: str, **environment: str) -> tuple[str | int, str]:
        """What a job leads to, a message or the exit code of the process; and its output."""
        output = self.folder / f"{self.count}.log"
        self.count += 1
        self.channel.send((str(output), [program], environment))
        try:
            answer = self.channel.recv()
        except EOFError:
            answer = self.process.wait(60)
        return answer, output.read_text()


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path)
    yield one
    one.channel.close()
    one.process.wait(60)


STATE = """
import json, logging, os, sys, warnings
state = [os.getcwd(), sys.argv, dict(os.environ), len(logging.getLogger().handlers)]
print(json.dumps([*state, [str(f) for f in warnings.filters]]))
"""
MESS = """
import logging, os, sys, warnings
os.chdir('/')
sys.argv.append('more')
os.environ['NEW'] = '1'
del os.environ['HOME']
os.environ['PATH'] = ''
logging.getLogger().addHandler(logging.FileHandler(os.environ['LOG']))
warnings.simplefilter('ignore')
"""


def test_a_job_finds_the_process_as_the_job_before_it_did(server, tmp_path):
    before = json.loads(server.run(STATE)[1])
    assert before[0] == str(tmp_path)
    assert server.run(MESS, LOG=str(tmp_path / "mess.log")) == (DONE, "")
    assert json.loads(server.run(STATE)[1]) == before


def test_a_job_has_its_own_environment(server):
    assert server.run("import os; print(os.environ['OWN'])", OWN="1") == (DONE, "1\n")
    assert server.run("import os; print('OWN' in os.environ)") == (DONE, "False\n")


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("sys.exit(3)", 3),
        ("sys.exit('a text')", 1),
        ("raise ValueError('a mistake')", 1),
        ("import os; os.kill(os.getpid(), 9)", -9),
    ],
)
def test_a_job_that_does_not_succeed_ends_the_process_with_its_code(server, program, code):
    answer, output = server.run(program)
    assert answer == code
    assert ("ValueError: a mistake" in output) == ("mistake" in program)
    assert ("a text" in output) == ("a text" in program)


def test_a_job_whose_output_cannot_be_written_does_not_succeed(tmp_path):
    server = Server(tmp_path)
    server.channel.send((str(tmp_path / "absent" / "output.log"), ["pass"], {}))
    assert server.process.wait(60) == 1


def test_a_process_ends_after_its_last_job(tmp_path):
    server = Server(tmp_path, max_jobs=2)
    assert [server.run("pass")[0] for _ in range(2)] == [DONE, 0]


def test_a_process_whose_memory_has_grown_takes_no_further_job(server):
    lowered = "from flag3d_exp.sweep import worker; worker.MAX_GROWTH = 50 << 20"
    grows = "import builtins; builtins.kept = bytearray(100 << 20); kept[::4096] = b'1' * 25600"
    assert [server.run(program)[0] for program in (lowered, "pass", grows)] == [DONE, DONE, 0]


def test_a_job_with_other_settings_of_the_device_needs_a_new_process(server):
    job = "from flag3d_exp.sweep import worker; worker.check_device({'tf32': %s})"
    assert server.run(job % False)[0] == DONE
    assert server.run(job % False)[0] == DONE
    assert server.run(job % True)[0] == UNSUITED
    assert server.process.wait(60) == 0


def test_a_process_without_a_driver_ends(server):
    server.channel.close()
    assert server.process.wait(60) == 0


def processes(folder: Path) -> list[set[int]]:
    """The processes that worked on each trial of the only study."""
    found = sorted(study_folder(folder).glob("*/history.jsonl"), key=lambda p: int(p.parent.name))
    texts = [path.read_text().splitlines() for path in found]
    return [{json.loads(line)["pid"] for line in lines} for lines in texts]


def test_a_slot_runs_its_trials_in_processes_of_so_many_trials(tmp_path):
    finish(tmp_path, search("hydra.sweeper.n_trials=5", "hydra.sweeper.runs_per_process=2"))
    one, two, three, four, five = processes(tmp_path)
    assert one == two != three == four != five
    assert results(tmp_path)["trials"] == {"complete": 5}


def test_a_worker_killed_in_a_later_trial_costs_that_trial_only(tmp_path):
    held = tmp_path / "held"
    line = search("hydra.sweeper.n_trials=3", f"task.held={held}", "task.seconds=0.2")
    driver = study.start(tmp_path, line)
    until(lambda: num_epochs(tmp_path, "0") == 4)
    held.touch()
    until(lambda: num_epochs(tmp_path, "1") == 2)
    (job,) = study.job_processes(driver)
    job.kill()
    held.unlink()
    assert driver.wait(300) == 0
    assert results(tmp_path)["trials"] == {"complete": 3, "retried": 1}
    first, second, third = processes(tmp_path)
    assert first < second and len(second) == 2  # before and after the kill
    assert third <= second - first
    for folder in study_folder(tmp_path).glob("[0-9]*"):
        lines = (folder / "history.jsonl").read_text().splitlines()
        assert [json.loads(one)["epoch"] for one in lines] == [1, 2, 3, 4]
    assert not psutil.pid_exists(job.pid)


@pytest.mark.slow
def test_runs_of_one_process_compile_once_and_have_the_bits_of_processes_of_their_own(tmp_path):
    own = (*TINY, "device.jit=true", "task.epochs=1", "model.dropout=0.3")
    line = command(*own, "optimizer.weight_decay=0.0005,0.003", "seed=3", "hydra.sweep.dir=grid")
    finish(tmp_path, line)
    log = (tmp_path / "grid" / "1" / "run.log").read_text()
    assert "the compiled step of the last run is used again" in log
    words = ("optimizer.weight_decay=0.003", "seed=3", "tracking=none", "hydra.run.dir=alone")
    succeeded(tmp_path, *own, *words)
    found, expected = tmp_path / "grid" / "1", tmp_path / "alone"
    assert metrics(found) == metrics(expected)
    for name in ("last", "best"):
        path = Path("checkpoints", f"{name}.npz")
        assert load_meta(found / path)["sha256"] == load_meta(expected / path)["sha256"]
