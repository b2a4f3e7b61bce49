"""The files of a run: predictions, final metrics, the history of metrics, the lock.

.hydra/config.yaml      the composed configuration
run.log                 everything said, tracebacks included
metrics.json            final value of each metric
history.jsonl           every value reported, one line a report
predictions/<split>.npz names, and what the problem saves: of classify labels, scores
checkpoints/            best.npz, last.npz and their predecessors
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from flag3d_exp import files
from flag3d_exp.errors import UserError

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
PREPARED = "FLAG3D_EXP_FOLDER"  # environment variable: a sweep's driver has prepared this folder
# By these a folder is known to hold a run; a failed start leaves .hydra and run.log alone.
OF_TRAINING = (
    "checkpoints",
    "history.jsonl",
    "metrics.json",
    "mlflow.json",
    "predictions",
    "trial.json",
)
OF_OTHERS = (
    "benchmark.json",
    "compare.json",
    "explain.json",
    "findings.json",
    "fusion.json",
    "grid.yaml",
    "model.mindir",
    "model.onnx",
    "optimization_results.yaml",
    "predicted.csv",
    "predicted.json",
    "report.html",
    "summary.md",
)


@dataclass(frozen=True)
class Report:
    """Metric values of one moment; `step` counts updates, `timestamp` is in milliseconds."""

    step: int
    timestamp: int
    metrics: dict[str, float]


class History:
    """The reports of a run in the order they were made, kept in `history.jsonl`.

    A resumed run repeats the steps after its checkpoint; a report already made is not made twice.
    What a full disk does not take is written with the next report.
    """

    def __init__(self, folder: Path):
        self.path = folder / "history.jsonl"
        self.reports = list(_reports(self.path))
        self._known = {(report.step, *sorted(report.metrics)) for report in self.reports}
        self._unwritten = b""

    def add(self, step: int, metrics: Mapping[str, float]) -> Report | None:
        """Append a report and return it, or None if this step's was already there."""
        key = (step, *sorted(metrics))
        if key in self._known:
            return None
        report = Report(step, time.time_ns() // 1_000_000, dict(metrics))
        self._known.add(key)
        self.reports.append(report)
        self._unwritten += json.dumps(report.__dict__).encode() + b"\n"
        self.flush()
        return report

    def series(self) -> dict[str, tuple[list[int], list[float]]]:
        """Steps and values of each metric."""
        found: dict[str, tuple[list[int], list[float]]] = {}
        for report in self.reports:
            for name, value in report.metrics.items():
                steps, values = found.setdefault(name, ([], []))
                steps.append(report.step)
                values.append(value)
        return found

    def flush(self) -> None:
        """Append what is not in the file yet, all of it or nothing."""
        if not self._unwritten:
            return
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, "ab") as file:
                file.write(self._unwritten)
        except OSError as error:
            if self.path.exists():
                os.truncate(self.path, size)
            log.warning("%s was not written (%s); the next report tries again.", self.path, error)
        else:
            self._unwritten = b""


def save_predictions(
    folder: Path, split: str, names: Sequence[str], arrays: Mapping[str, "np.ndarray"]
) -> Path:
    """Write `predictions/<split>.npz`: names (n,), and what the problem saves of each."""
    import numpy as np

    path = folder / "predictions" / f"{split}.npz"
    path.parent.mkdir(exist_ok=True)
    files.write_arrays(path, {"names": np.array(names), **arrays})
    return path


def save_metrics(folder: Path, metrics: Mapping[str, float]) -> Path:
    """Write `metrics.json`, the final value of each metric."""
    path = folder / "metrics.json"
    files.write_json(path, dict(sorted(metrics.items())))
    return path


def check_unused(folder: Path, resume: str | None, resumable: bool) -> None:
    """Refuse a folder that holds a run, before anything is written to it.

    What a start leaves that failed before it had results does not count.

    Args:
        resume: what `task.resume` says; with it, a training run is continued.
        resumable: whether the task has `task.resume`.

    Raises:
        UserError: naming what the folder holds, or that another process is using it.
    """
    if os.environ.get(PREPARED) == str(folder.absolute()):
        return
    if (folder / ".lock").exists():
        with locked(folder):
            pass
    found = [name for name in (*OF_TRAINING, *OF_OTHERS) if (folder / name).exists()]
    listed = ", ".join(found)
    if resume is None and found:
        instead = ", or continue it with `task.resume=auto`" if resumable else ""
        raise UserError(
            f"`hydra.run.dir={folder}` already holds a run ({listed}); choose another "
            f"folder{instead}."
        )
    evaluated = "predictions" in found and not {"history.jsonl", "checkpoints"} & set(found)
    if evaluated or any(name in OF_OTHERS for name in found):
        raise UserError(
            f"`hydra.run.dir={folder}` holds no training run to continue but another task's files "
            f"({listed}); choose another folder."
        )


def check_kept(folder: Path, inode: int) -> None:
    """Refuse to go on in a folder that was deleted, though it may have been made again.

    Args:
        inode: of the folder when the run began.

    Raises:
        UserError: it was.
    """
    try:
        kept = folder.stat().st_ino == inode
    except OSError:
        kept = False
    if not kept:
        raise UserError(
            f"the run folder `{folder}` was deleted while the run went on; nothing can be kept "
            "there."
        )


@contextmanager
def locked(folder: Path, key: str = "hydra.run.dir") -> Iterator[None]:
    """Hold the run folder for this process; remove what killed writers left in it.

    Args:
        key: the setting that names the folder.

    Raises:
        UserError: another process holds it.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"`{folder}` is in use by another run; choose another `{key}`.") from None
    try:
        files.remove_abandoned(folder)
        yield
    finally:
        lock.release()


def _reports(path: Path) -> Iterator[Report]:
    """The reports in a history; the last line, which a killed run may have cut, is removed."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    for line in whole.decode("utf-8").splitlines():
        yield Report(**json.loads(line))
