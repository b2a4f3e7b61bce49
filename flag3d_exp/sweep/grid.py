"""A plain grid, `-m model=a,b seed=1,2,3`: every combination, and the mean over seeds."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

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
from flag3d_exp.sweep import job, parent
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
from flag3d_exp.sweep.trial import Ticket

if TYPE_CHECKING:
    from hydra_plugins.flag3d_exp_sweeper import GridSweeper

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
LOOK_SECONDS = 1.0  # between two looks for runs that are stuck


def run(
    sweeper: "GridSweeper", config: DictConfig, loader: ConfigLoader, overrides: list[str]
) -> None:
    """Run every combination and say what came of it.

    Raises:
        UserError: nothing can be enumerated, or combinations failed.
    """
    HydraConfig.instance().set_config(config)  # for interpolations such as that of the folder
    settle(config.tracking)
    fixed, varied, points = combinations(overrides, loader)
    with own_folder(config) as folder:
        recall(points, description(config, fixed, varied), folder)
        _run(sweeper, config, fixed, points, folder)


def _run(
    sweeper: "GridSweeper",
    config: DictConfig,
    fixed: Sequence[str],
    points: Sequence[Point],
    folder: Path,
) -> None:
    tracker = _parent(config, folder, title(points))
    status: Status = "FAILED"
    try:
        with StopRequest(patience=2) as stop:
            _work(sweeper, config, fixed, points, folder, tracker, stop)
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
    """The grid's folder, created and held for this process.

    A folder that is named by the time gets a number behind its name if another grid has it; one
    that the user names is continued.

    Raises:
        UserError: another process holds it.
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
    with run_folder.locked(folder, "hydra.sweep.dir"):
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


def _work(
    sweeper: "GridSweeper",
    config: DictConfig,
    fixed: Sequence[str],
    points: Sequence[Point],
    folder: Path,
    tracker: Tracker,
    stop: StopRequest,
) -> None:
    launcher = config.hydra.runtime.choices.get("hydra/launcher") != "basic"
    pending = [number for number, point in enumerate(points) if point.state != "complete"]
    jobs: list[job.Job] = []
    stopping, looked = False, 0.0
    while jobs or (pending and not stop.signum):
        if stop.signum and not stopping:
            stopping = True
            log.info("stopping %d runs; they save their state first", len(jobs))
            for one in jobs:
                one.stop()
        if stop.num_signals > 1:
            for one in jobs:
                one.end("was ended by a second signal to the sweep")
        if time.monotonic() - looked >= LOOK_SECONDS:
            looked = time.monotonic()
            for one in jobs:
                one.end_if_stuck(sweeper.grace)
        free = sorted(set(range(sweeper.n_jobs)) - {one.slot for one in jobs})
        for slot in free if not stop.signum else ():
            if pending:
                number = pending.pop(0)
                point = points[number]
                lines = [*fixed, *(f"{key}={value}" for key, value in point.choices.items())]
                if sweeper.devices:
                    lines.append(f"device.id={sweeper.devices[slot % len(sweeper.devices)]}")
                own = folder / point.folder
                if "resume" in config.task and (own / "history.jsonl").exists():
                    lines.append("task.resume=auto")
                ticket = Ticket(tags=parent.child_tags(tracker, number))
                where = (slot, sweeper.n_jobs)
                jobs.append(job.start(number, own, where, lines, ticket, launcher))
                point.state = "running"
        for one in [one for one in jobs if one.returncode() is not None]:
            jobs.remove(one)
            _settle(one, points[one.number], len(points), stopping)
            _publish(points, folder, tracker)
        time.sleep(TICK_SECONDS)


def _settle(one: job.Job, point: Point, num_points: int, stopping: bool) -> None:
    """Note how a run ended."""
    what = " ".join(f"{key}={value}" for key, value in point.choices.items())
    if one.returncode() == 0:
        point.state = "complete"
        point.metrics = run_folder.read_metrics(one.folder)
        shown = "  ".join(f"{k} {v:.2f}" for k, v in point.metrics.items() if k.endswith("/top1"))
        log.info("run %d of %d complete  %s  %s", one.number + 1, num_points, what, shown)
        return
    parent.close_child(one.folder)
    point.state = "waiting" if stopping else "failed"
    if not stopping:
        how = one.how_it_ended()
        log.info("run %d of %d failed  %s: %s", one.number + 1, num_points, what, how)


def _publish(points: Sequence[Point], folder: Path, tracker: Tracker) -> list[str]:
    lines = save(points, folder)
    ended = sum(point.state in ("complete", "failed") for point in points)
    tracker.log_report(Report(ended, time.time_ns() // 1_000_000, metrics(points)))
    tracker.set_tags({parent.NOTE: "\n".join(lines)})
    for name in (FILE, TABLE):
        tracker.log_artifact(folder / name)
    return lines
