"""The same seed gives the same bits, also beside a process that takes the processor's time."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from cli import TINY, metrics, succeeded

from flag3d_exp.engine.checkpoint import load_meta

pytestmark = pytest.mark.slow
SHORT = (*TINY, "task.epochs=1", "task.limit_batches=3", "model.dropout=0.3", "tracking=none")


@contextmanager
def busy() -> Iterator[None]:
    """A process that spins for the time of the block."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def outcome(folder: Path, number: int, *arguments: str) -> tuple[str, dict[str, float]]:
    """SHA-256 of the last checkpoint's arrays, and the final metrics."""
    succeeded(folder, *SHORT, *arguments, f"hydra.run.dir={number}")
    last = load_meta(folder / str(number) / "checkpoints" / "last.npz")
    return last["sha256"], metrics(folder / str(number))


@pytest.mark.parametrize("jit", ["false", "true"])
def test_runs_of_one_seed_are_one_and_another_seed_is_another(tmp_path, jit):
    found = outcomes(tmp_path, 2, jit)
    assert found[0] == found[1]
    if jit == "false":
        assert outcome(tmp_path, 2, "seed=1")[0] != found[0][0]


@pytest.mark.release
@pytest.mark.parametrize("jit", ["false", "true"])
def test_ten_runs_of_one_seed_are_one(tmp_path, jit):
    found = outcomes(tmp_path, 10, jit)
    assert found == [found[0]] * 10


def outcomes(folder: Path, count: int, jit: str) -> list[tuple[str, dict[str, float]]]:
    """Of so many runs of one seed, every other one beside a busy process."""
    found = []
    for number in range(count):
        with busy() if number % 2 else nullcontext():
            found.append(outcome(folder, number, f"device.jit={jit}"))
    return found
