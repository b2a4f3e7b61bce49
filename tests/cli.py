"""Running the program as a user does, on a network and a share of the data that take seconds."""

import subprocess
import sys
from pathlib import Path

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
