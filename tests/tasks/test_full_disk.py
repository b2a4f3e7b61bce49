"""A disk that fills up while a run trains: checkpoints, history, log and MLflow's store at once."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import (
    LONG,
    Started,
    kept_series,
    metrics,
    runs,
    started,
    succeeded,
    tracked_series,
    wait_for,
)

from flag3d_exp.engine.checkpoint import load_checkpoint, load_meta
from flag3d_exp.runs.resume import newest

pytestmark = pytest.mark.slow


class FullDisk:
    """A file system of 10 MB that can be filled; for the superuser only."""

    def __init__(self, folder: Path):
        self.folder, self.filler = folder, folder / "filler"
        mount = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount).returncode != 0:
            pytest.skip("NO SMALL DISK CAN BE MOUNTED HERE (not the superuser)")

    def fill(self, process: Started) -> None:
        with open(self.filler, "wb", buffering=0) as file:
            for size in (65536, 512):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def clear(self, process: Started) -> None:
        self.filler.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


class SizeLimit:
    """The process may make no file larger than 50 kB: a checkpoint is, MLflow's store too."""

    def __init__(self, folder: Path):
        self.folder = folder

    def fill(self, process: Started) -> None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

    def clear(self, process: Started) -> None:
        if process.poll() is None:  # else the limit has gone with it
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)

    def close(self) -> None:
        pass


@pytest.fixture(params=[FullDisk, SizeLimit])
def disk(request, tmp_path) -> Iterator[FullDisk | SizeLimit]:
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = request.param(folder)
    yield disk
    disk.close()


def started_and_full(disk: FullDisk | SizeLimit, output: Path, patience: int) -> Started:
    """A run in the disk's folder that has saved once and finds no more room."""
    process = started(disk.folder, *LONG, f"tracking.patience={patience}", output=output)
    wait_for(disk.folder / "run" / "checkpoints" / "last.npz", process)
    process.send_signal(signal.SIGSTOP)
    disk.fill(process)
    process.send_signal(signal.SIGCONT)
    return process


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path, disk, uninterrupted):
    output = tmp_path / "output.txt"
    process = started_and_full(disk, output, patience=60)
    wait_for(output, process, "No checkpoint at")
    kept = newest(disk.folder / "run")
    assert kept is not None and kept.meta["progress"]["epoch"] == 0
    wait_for(output, process, "tracking server is away")
    disk.clear(process)
    assert process.wait(300) == 0, output.read_text()
    assert "Traceback" not in output.read_text()
    run = disk.folder / "run"
    assert metrics(run) == uninterrupted
    assert load_meta(run / "checkpoints" / "last.npz")["progress"]["epoch"] == 3
    best = load_checkpoint(run / "checkpoints" / "best.npz")
    assert best.meta["progress"]["best"] == uninterrupted["val/top1"]
    assert not list(run.rglob(".tmp-*"))
    (tracked,) = runs(disk.folder)
    assert tracked.info.status == "FINISHED"
    assert tracked_series(disk.folder, tracked.info.run_id) == kept_series(run)


def test_a_disk_that_stays_full_ends_the_run_with_a_line_and_loses_nothing(
    tmp_path, disk, uninterrupted
):
    output = tmp_path / "output.txt"
    process = started_and_full(disk, output, patience=1)
    assert process.wait(300) == 1, output.read_text()
    assert "Traceback" not in output.read_text()
    assert output.read_text().splitlines()[-1].startswith("error: ")
    assert newest(disk.folder / "run") is not None
    disk.clear(process)
    succeeded(disk.folder, "task.resume=run")
    assert metrics(disk.folder / "run") == uninterrupted
    (tracked,) = runs(disk.folder)
    assert tracked.info.status == "FINISHED"
