"""A plain grid, `-m model=a,b seed=1,2,3`: every combination, and the mean over seeds."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from filelock import FileLock
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from flag3d_exp import console, files
from flag3d_exp.credentials import same_place
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.errors import UserError
from flag3d_exp.runs import run_folder
from flag3d_exp.runs.run_folder import Report
from flag3d_exp.runs.tracking import Status, Tracker, settle
from flag3d_exp.sweep import job, parent, slots
from flag3d_exp.sweep.begun import description
from flag3d_exp.sweep.points import (
    FILE,
    TABLE,
    Point,
    combinations,
    metrics,
    recall,
    save,
    title,
)
from flag3d_exp.sweep.sweepers import GridSettings
from flag3d_exp.sweep.trial import JobSettings
from flag3d_exp.sweep.worker import Worker

log = logging.getLogger(__name__)


def run(
    sweeper: GridSettings, config: DictConfig, loader: ConfigLoader, overrides: list[str]
) -> None:
    """Run every combination and log the results.

    Raises:
        UserError: an override has no finite number of values, or combinations failed.
    """
    HydraConfig.instance().set_config(config)  # resolves interpolations, such as in the folder
    settle(config.tracking)
    fixed, varied, points = combinations(overrides, loader)
    with own_folder(config) as folder:
        recall(points, description(config, fixed, varied), folder)
        _run(sweeper, config, fixed, points, folder)


def _run(
    sweeper: GridSettings,
    config: DictConfig,
    fixed: Sequence[str],
    points: Sequence[Point],
    folder: Path,
) -> None:
    tracker = _parent(config, folder, title(points))
    status: Status = "FAILED"
    try:
        with (
            StopRequest(patience=2) as stop,
            job.workers(sweeper.n_jobs, sweeper.runs_per_process, config) as workers,
        ):
            grid = Grid(sweeper, config, fixed, points, folder, tracker, workers)
            slots.fill(grid, sweeper.n_jobs, sweeper.grace, stop)
        failed = [point for point in points if point.state == "failed"]
        status = "KILLED" if stop.signum else "FAILED" if failed else "FINISHED"
    finally:
        lines = _publish(points, folder, tracker)
        tracker.finish(status)
    console.show("\n".join(lines))
    log.info("grid folder: %s", folder)
    if stop.signum:
        log.info("stopped; to continue: %s", job.command_line(folder))
        sys.exit(128 + stop.signum)
    if failed:
        names = ", ".join(str(folder / point.folder) for point in failed)
        raise UserError(f"{len(failed)} of {len(points)} runs failed; see output.log in {names}.")


@contextmanager
def own_folder(config: DictConfig) -> Iterator[Path]:
    """Create the grid's folder and lock it for this process.

    A folder that is named by the time gets a number after its name if another grid has it. A grid
    in a folder that the user names is continued.

    Raises:
        UserError: another process holds the lock.
    """
    named = Path(config.hydra.sweep.dir).resolve()
    raw = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    by_time = isinstance(raw, dict) and "${now:" in str(raw["dir"])
    folder = named
    for number in count(2):
        try:
            folder.mkdir(parents=True, exist_ok=not by_time)
            break
        except FileExistsError:
            folder = named.with_name(f"{named.name}-{number}")
    with run_folder.lock_folder(folder, "hydra.sweep.dir"):
        yield folder


def _parent(config: DictConfig, folder: Path, name: str) -> Tracker:
    path = run_folder.inside(folder, "mlflow.json")
    with FileLock(folder / ".mlflow.lock"):
        known = run_folder.mlflow_run(folder)
        uri = config.tracking.uri
        run_id = known.run_id if known is not None and same_place(known.uri, uri) else None
        tracker = parent.start(config, name, folder, run_id)
        files.write_json(path, {"uri": config.tracking.uri, "run_id": tracker.run_id})
    return tracker


class Grid:
    """The points of a grid and their results; see `slots.Work`."""

    def __init__(
        self,
        sweeper: GridSettings,
        config: DictConfig,
        fixed: Sequence[str],
        points: Sequence[Point],
        folder: Path,
        tracker: Tracker,
        workers: Sequence[Worker | None],
    ):
        self.sweeper, self.task, self.fixed = sweeper, config.task, fixed
        self.points, self.folder, self.tracker = points, folder, tracker
        self.workers = workers  # of each slot
        self.pending = [n for n, point in enumerate(points) if point.state != "complete"]
        self.changed = False

    def look(self, jobs: list[job.Job]) -> None:
        """Do nothing: only this process knows the running jobs."""

    def start(self, slot: int) -> job.Job | None:
        """Start the next combination."""
        if not self.pending:
            return None
        number = self.pending.pop(0)
        point = self.points[number]
        lines = [*self.fixed, *(f"{key}={value}" for key, value in point.choices.items())]
        own = self.folder / point.folder
        lines += job.placing(self.sweeper.devices, slot, self.task, own)
        job_settings = JobSettings(tags=parent.child_tags(self.tracker, number))
        point.state = "running"
        return job.start(number, own, slot, lines, job_settings, self.workers[slot])

    def settle(self, one: job.Job, stopping: bool) -> None:
        """Record how a run ended."""
        point = self.points[one.number]
        num_points = len(self.points)
        what = " ".join(f"{key}={value}" for key, value in point.choices.items())
        self.changed = True
        if one.returncode() == 0:
            point.state = "complete"
            point.metrics = run_folder.read_metrics(one.folder)
            shown = "  ".join(
                f"{k} {v:.2f}" for k, v in point.metrics.items() if k.endswith("/top1")
            )
            log.info("run %d of %d complete  %s  %s", one.number + 1, num_points, what, shown)
            return
        parent.close_child(one.folder)
        point.state = "waiting" if stopping else "failed"
        if not stopping:
            how = one.how_it_ended()
            log.info("run %d of %d failed  %s: %s", one.number + 1, num_points, what, how)

    def show(self, jobs: list[job.Job]) -> None:
        """Publish the table if a run has ended."""
        if self.changed:
            self.changed = False
            _publish(self.points, self.folder, self.tracker)

    def is_halted(self) -> bool:
        """False: the other combinations run even if one failed."""
        return False

    def done(self) -> bool:
        """Whether every combination was started."""
        return not self.pending

    def launched_process(self, one: job.Job) -> None:
        """None: a grid does not look for a launcher's processes."""


def _publish(points: Sequence[Point], folder: Path, tracker: Tracker) -> list[str]:
    lines = save(points, folder)
    ended = sum(point.state in ("complete", "failed") for point in points)
    tracker.log_report(Report(ended, time.time_ns() // 1_000_000, metrics(points)))
    tracker.set_tags({parent.NOTE: "\n".join(lines)})
    for name in (FILE, TABLE):
        tracker.log_artifact(folder / name)
    return lines
