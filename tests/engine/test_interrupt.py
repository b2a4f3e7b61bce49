"""Signals in a process of its own, as MindSpore's threads are there only once it is imported."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flag3d_exp.engine.interrupt import StopRequest

AFTER_A_COMPILED_RUN = """
import os, signal, time
from contextlib import nullcontext
from flag3d_exp.engine.interrupt import StopRequest, keep_sigint

with {block}:
    import mindspore as ms

    @ms.jit
    def successor(x):
        return x + 1

    ms.set_device("CPU")
    with StopRequest() as stop:
        successor(ms.Tensor([1.0])).asnumpy()
        os.kill(os.getpid(), signal.SIGINT)
        while stop.signum is None:
            time.sleep(0.01)
        print(signal.Signals(stop.signum).name)
        {then}
print("on")
"""


def said(folder: Path, block: str, then: str = "") -> tuple[int, list[str]]:
    script = folder / "script.py"  # MindSpore compiles from source
    script.write_text(AFTER_A_COMPILED_RUN.format(block=block, then=then))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=600, cwd=folder
    )
    return done.returncode, done.stdout.split()


def test_sigint_stays_sigint_after_a_compiled_run(tmp_path):
    assert said(tmp_path, "keep_sigint()") == (0, ["SIGINT", "on"])


@pytest.mark.slow
def test_mindspore_makes_a_sigterm_of_it_where_it_is_not_kept(tmp_path):
    """The day this fails, `keep_sigint` can go."""
    assert said(tmp_path, "nullcontext()") == (0, ["SIGTERM", "on"])


def test_as_many_signals_are_caught_as_asked_for():
    with StopRequest(patience=2) as stop:
        for number in (1, 2):
            signal.raise_signal(signal.SIGTERM)
            assert (stop.signum, stop.num_signals) == (signal.SIGTERM, number)


@pytest.mark.slow
def test_a_second_sigint_ends_the_process_at_once(tmp_path):
    code, words = said(
        tmp_path, "keep_sigint()", "os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"
    )
    assert code == -signal.SIGINT and "on" not in words


def test_sigterm_ends_a_process_in_one_line_where_nothing_else_handles_it():
    code = "import signal; from flag3d_exp.engine.interrupt import end_on_sigterm; "
    code += "end_on_sigterm(); signal.raise_signal(signal.SIGTERM); print('still there')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "stopped by SIGTERM\n")
