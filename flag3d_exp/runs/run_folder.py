"""The files of a run: predictions, final metrics, the history of metrics, the lock.

.hydra/config.yaml      the composed configuration
run.log                 all log lines, with tracebacks
metrics.json            final value of each metric
history.jsonl           all reported values, one line per report
predictions/<split>.npz names, and the arrays of the problem: labels and scores for classify
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
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from flag3d_exp import files
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.records import record
from flag3d_exp.reading.text import file_bytes, parsed_json

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
PREPARED = "FLAG3D_EXP_FOLDER"  # environment variable: a sweep's driver has prepared this folder
# A folder with one of these holds a run; a failed start leaves only .hydra and run.log.
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
    "calibration.json",
    "compare.json",
    "explain.json",
    "fidelity.html",
    "findings.json",
    "fusion.json",
    "generated.pkl",
    "grid.yaml",
    "model.mindir",
    "model.onnx",
    "optimization_results.yaml",
    "predicted.csv",
    "predicted.json",
    "report.html",
    "robustness.json",
    "summary.md",
)
TRANSDUCTIVE = "transductive.json"  # of a run whose network has seen its evaluation data
GENERATED = "generated.json"  # of a run with recordings that a network generated
MAX_HISTORY = 256 << 20
FOLDERS = (".hydra", "predictions", "checkpoints", "figures")
WRITTEN = (
    *FOLDERS,
    "run.log",
    "metrics.json",
    "history.jsonl",
    "mlflow.json",
    "trial.json",
    "transductive.json",
    "generated.json",
    ".lock",
)


def inside(folder: Path, *parts: str) -> Path:
    """The path of a run's file, checked to be inside the run folder.

    Every file of a run is opened by this path. So neither a name, such as the name of a split, nor
    a symbolic link in a folder from another machine can lead to a file outside the run.

    Raises:
        UserError: the path is outside the folder.
    """
    path = folder.joinpath(*parts)
    try:
        is_below = folder.resolve() in path.resolve().parents
    except (ValueError, RuntimeError):  # a null character, or a cycle of links
        is_below = False
    if not is_below:
        raise UserError(f"`{path}` is not a file of the run in `{folder}`: it leads out of it.")
    return path


def check_links(folder: Path) -> None:
    """Refuse a run folder with symbolic links that lead outside of it.

    Raises:
        UserError: names the link.
    """
    for name in WRITTEN:
        inside(folder, name)
        if name in FOLDERS and (folder / name).is_dir():
            for path in (folder / name).iterdir():
                inside(folder, name, path.name)


@dataclass(frozen=True)
class MlflowRun:
    """The content of `mlflow.json`: the store and the run id; both None without tracking."""

    uri: str | None
    run_id: str | None


def mlflow_run(folder: Path) -> MlflowRun | None:
    """The MLflow run that a folder belongs to; None if there is no `mlflow.json`.

    Raises:
        UserError: `mlflow.json` is malformed.
    """
    found = read_json(folder, "mlflow.json")
    try:
        return None if found is None else record(MlflowRun, found)
    except Malformed as error:
        raise UserError(f"{folder / 'mlflow.json'}: {error}.") from error


def read_metrics(folder: Path) -> dict[str, float]:
    """The content of `metrics.json`; empty if there is no such file.

    Raises:
        UserError: the file is malformed.
    """
    found = read_json(folder, "metrics.json")
    try:
        return record(Metrics, {"values": found or {}}).values
    except Malformed as error:
        raise UserError(f"{folder / 'metrics.json'}: {error}.") from error


def read_json(folder: Path, name: str) -> Any:
    """The value in a JSON file of a run; None if there is no such file.

    Raises:
        UserError: the file can't be read or is not JSON.
    """
    path = inside(folder, name)
    if not path.exists():
        return None
    try:
        return parsed_json(file_bytes(path))
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error


@dataclass(frozen=True)
class Metrics:
    """Final values by name."""

    values: dict[str, float]


@dataclass(frozen=True)
class Report:
    """Metric values at one step; `step` counts updates, `timestamp` is in milliseconds."""

    step: int
    timestamp: int
    metrics: dict[str, float]


class History:
    """The reports of a run in chronological order, stored in `history.jsonl`.

    A resumed run repeats the steps after its checkpoint; a report that exists is not added again.
    A report that could not be written to a full disk is written with the next report.
    """

    def __init__(self, folder: Path):
        self.path = inside(folder, "history.jsonl")
        content = _whole_lines(self.path)
        self._size = len(content)
        self.reports = list(_reports(self.path, content))
        self._known = {(report.step, *sorted(report.metrics)) for report in self.reports}
        self._unwritten = b""

    def add(self, step: int, metrics: Mapping[str, float]) -> Report | None:
        """Append a report and return it, or None if there is already a report of this step."""
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
        """Append all reports that are not yet in the file, or none of them.

        An incomplete last line, left by a killed run or a full disk, is removed first.
        """
        if not self._unwritten:
            return
        try:
            with open(self.path, "ab") as file:
                file.truncate(self._size)
                file.write(self._unwritten)
        except OSError as error:
            log.warning("%s was not written (%s); the next report tries again.", self.path, error)
        else:
            self._size += len(self._unwritten)
            self._unwritten = b""


def save_predictions(
    folder: Path, split: str, names: Sequence[str], arrays: Mapping[str, "np.ndarray"]
) -> Path:
    """Write `predictions/<split>.npz`: names (n,), and the arrays that the problem saves."""
    import numpy as np

    path = inside(folder, "predictions", f"{split}.npz")
    path.parent.mkdir(exist_ok=True)
    files.write_arrays(path, {"names": np.array(names), **arrays})
    return path


def save_metrics(folder: Path, metrics: Mapping[str, float]) -> Path:
    """Write `metrics.json`, the final value of each metric."""
    path = inside(folder, "metrics.json")
    files.write_json(path, dict(sorted(metrics.items())))
    return path


def check_unused(folder: Path, resume: str | None, resumable: bool) -> None:
    """Refuse a folder that holds a run, before anything is written to it.

    The files of a start that failed before it had results do not count.

    Args:
        resume: the value of `task.resume`; with it, a training run is continued.
        resumable: whether the task has `task.resume`.

    Raises:
        UserError: the folder holds files of a run (named), or another process is using it.
    """
    if os.environ.get(PREPARED) == str(folder.absolute()):
        return
    if (folder / ".lock").exists():
        with lock_folder(folder):
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
            f"`hydra.run.dir={folder}` holds no training run to continue, only files of another "
            f"task ({listed}); choose another folder."
        )


def check_kept(folder: Path, inode: int) -> None:
    """Refuse to continue in a folder that was deleted, even if it was created again.

    Args:
        inode: of the folder when the run began.

    Raises:
        UserError: the folder was deleted.
    """
    try:
        kept = folder.stat().st_ino == inode
    except OSError:
        kept = False
    if not kept:
        raise UserError(
            f"the run folder `{folder}` was deleted during the run; nothing can be saved there."
        )


@contextmanager
def lock_folder(folder: Path, key: str = "hydra.run.dir") -> Iterator[None]:
    """Lock the run folder for this process; remove the temporary files of killed writers.

    Args:
        key: the setting that names the folder.

    Raises:
        UserError: another process holds the lock, or the folder has links that lead outside.
    """
    check_links(folder)
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


def _whole_lines(path: Path) -> bytes:
    """The complete lines of a history; empty if there is no file.

    Raises:
        UserError: the file can't be read.
    """
    if not path.exists():
        return b""
    try:
        content = file_bytes(path, MAX_HISTORY)
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error
    return content[: content.rfind(b"\n") + 1]


def _reports(path: Path, content: bytes) -> Iterator[Report]:
    """The reports in the lines of a history.

    Raises:
        UserError: a line is not a report; names the line.
    """
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            yield record(Report, parsed_json(line))
        except Malformed as error:
            raise UserError(f"{path}, line {number}: {error}.") from error
