"""The driver of a study: runs trials until the budget is spent.

The storage holds the whole state. A restarted driver, or a driver on another machine, reads
everything from there.
"""

import logging
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, TrialState

from flag3d_exp.config.command_line import assignment
from flag3d_exp.config.started import config_flags
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.errors import UserError
from flag3d_exp.runs.run_folder import inside
from flag3d_exp.runs.tracking import Status, Tracker, settle
from flag3d_exp.sweep import job, owner, parent, slots
from flag3d_exp.sweep.begun import description
from flag3d_exp.sweep.draws import next_trial
from flag3d_exp.sweep.drivers import sampler_seed
from flag3d_exp.sweep.results import publish
from flag3d_exp.sweep.settings import (
    budget,
    check_objectives,
    default_objective,
    seeded_sampler,
)
from flag3d_exp.sweep.space import Space, choices_or_range, parse_space
from flag3d_exp.sweep.storage import open_study
from flag3d_exp.sweep.sweepers import StudySettings
from flag3d_exp.sweep.table import Table
from flag3d_exp.sweep.trial import JobSettings
from flag3d_exp.sweep.trial_records import (
    ENDED,
    ERROR,
    FOLDER,
    HEARTBEAT,
    OWNER,
    Retry,
    TrialRecords,
    all_failed,
    check_attributes,
    counted_trials,
)
from flag3d_exp.sweep.worker import Worker

log = logging.getLogger(__name__)

OWNERLESS_SECONDS = 30.0  # the owner of a claimed trial is set within milliseconds


def search(
    sweeper: StudySettings, config: DictConfig, loader: ConfigLoader, overrides: list[str]
) -> None:
    """Run the study that the sweeper describes.

    Raises:
        UserError: the study cannot be run, or too many of its trials failed.
    """
    HydraConfig.instance().set_config(config)  # resolves interpolations, such as in the folder
    settle(config.tracking)
    objectives = sweeper.objectives or default_objective(config)
    check_objectives(objectives, config)
    folder = Path(config.hydra.sweep.dir).resolve()
    flags = config_flags(config.hydra)
    space = parse_space(sweeper.params, overrides, sweeper.conditional, loader)
    if len(objectives) == 1 and "objective" in config.task:
        space.fixed.append(assignment("task.objective", next(iter(objectives))))
    address = sweeper.storage or str(folder / "journal.log")
    begun = description(
        config,
        space.fixed,
        {key: choices_or_range(one) for key, one in space.distributions.items()},
        objectives=dict(objectives),
        conditional=sweeper.conditional,
    )
    study, storage, number = open_study(
        folder, sweeper.study_name, address, list(objectives.values()), begun
    )
    seed = sampler_seed(config.seed, number, sweeper.sampler)
    study.sampler = seeded_sampler(sweeper.sampler, seed, space)
    records = TrialRecords(study, storage, sweeper.max_retries)
    check_attributes(records.trials())
    study.set_metric_names(list(objectives))
    tracker = parent.of_study(config, study, folder)
    pruner = OmegaConf.to_container(config.hydra.sweeper.pruner, resolve=True)
    assert isinstance(pruner, dict)
    job_settings = partial(
        JobSettings,
        study=study.study_name,
        storage=address,
        objectives=dict(objectives),
        pruner={str(k): v for k, v in pruner.items()},
        max_retries=sweeper.max_retries,
    )
    num_trials = budget(sweeper.n_trials, space)
    table = Table(records, objectives, num_trials, sweeper.n_jobs)
    driver = Driver(
        sweeper,
        config.task,
        records,
        space,
        folder,
        tracker,
        num_trials,
        job_settings,
        seed,
        table,
    )
    status: Status = "FAILED"
    try:
        with (
            StopRequest(patience=2) as stop,
            table,
            job.workers(sweeper.n_jobs, sweeper.runs_per_process, config) as driver.workers,
        ):
            slots.fill(driver, sweeper.n_jobs, sweeper.grace, stop)
        failed = driver.is_halted() or all_failed(records.trials())
        status = "KILLED" if stop.signum else "FAILED" if failed else "FINISHED"
    except ImportError as error:
        raise UserError(f"`hydra/sweeper/sampler` lacks a package: {error}") from error
    finally:
        lines = publish(records, folder, list(objectives), space.fixed, sweeper.plots, flags)
        parent.refresh(tracker, records, folder)
        tracker.finish(status)
    for line in lines:
        log.info(line)
    if stop.signum:
        log.info("stopped; the same command continues the study: %s", job.command_line())
        sys.exit(128 + stop.signum)
    if driver.is_halted():
        raise UserError(
            f"{driver.num_failed} trials failed; `hydra.sweeper.max_failures` is "
            f"{sweeper.max_failures}; the last: {driver.last_error}. Their folders are in {folder}."
        )
    if failed:
        trials = counted_trials(records.trials())
        raise UserError(
            f"all {len(trials)} trials failed; the last: trial {trials[-1].number}: "
            f"{trials[-1].user_attrs.get(ERROR, 'no reason')}. Their folders are in {folder}."
        )


class Driver:
    """The state of one driver process of a study; see `slots.Work`."""

    def __init__(
        self,
        sweeper: StudySettings,
        task: DictConfig,
        records: TrialRecords,
        space: Space,
        folder: Path,
        tracker: Tracker,
        num_trials: int,
        job_settings: "partial[JobSettings]",
        seed: int,
        table: Table,
    ):
        self.task = task
        self.sweeper, self.records, self.space, self.folder = sweeper, records, space, folder
        self.tracker, self.num_trials, self.job_settings = tracker, num_trials, job_settings
        self.table = table
        self.workers: list[Worker | None] = []  # of each slot
        self.rng = np.random.default_rng(seed)
        self.num_failed, self.last_error = 0, ""
        self._published = -1
        self._beats: dict[int, Beat] = {}

    def is_halted(self) -> bool:
        """Whether `max_failures` trials of this driver failed and are not retried."""
        limit = self.sweeper.max_failures
        return limit is not None and self.num_failed >= limit

    def done(self) -> bool:
        """Whether all trials of the budget have ended."""
        return all(trial.state in ENDED for trial in counted_trials(self.records.trials()))

    def start(self, slot: int) -> job.Job | None:
        """Draw the next trial and start its job; return None if the budget is spent."""
        drawn = next_trial(self.records, self.space, self.num_trials, self.rng)
        if drawn is None:
            return None
        trial, point = drawn
        folder = inside(self.folder, self.records.get(trial.number).user_attrs[FOLDER])
        lines = [*self.space.fixed, *point]
        lines += job.placing(self.sweeper.devices, slot, self.task, folder)
        job_settings = self.job_settings(
            number=trial.number,
            title=f"trial {folder.name}",
            tags=parent.child_tags(self.tracker, trial.number),
        )
        return job.start(trial.number, folder, slot, lines, job_settings, self.workers[slot])

    def settle(self, one: job.Job, stopping: bool) -> None:
        """Check a trial whose process has ended; if it reported no result, mark it as failed."""
        trial = self.records.get(one.number)
        if trial.state == TrialState.RUNNING and not self._lives_elsewhere(trial, one):
            retry = Retry.FREE if stopping else Retry.COUNTED
            died = (one.returncode() or 0) < 0 or one.worker is None
            if not died and not stopping:
                retry = Retry.NO
            error = "stopped with the sweep" if stopping else one.how_it_ended()
            self._fail(trial, error, retry)
        ended = self.records.get(one.number)
        if (
            ended.state == TrialState.FAIL
            and not stopping
            and ended in counted_trials(self.records.trials())
        ):
            self.num_failed += 1
            self.last_error = f"trial {one.number}: {ended.user_attrs.get('error', 'no reason')}"

    def _lives_elsewhere(self, trial: FrozenTrial, one: job.Job) -> bool:
        """Whether a process that the launcher started still works on the trial."""
        known = trial.user_attrs.get(OWNER)
        own = (os.getpid(), one.process.pid)
        return known is not None and known["pid"] not in own and owner.is_alive(known) is not False

    def launched_process(self, one: job.Job) -> psutil.Process | None:
        """The process on this host that a launcher started for the trial."""
        if one.worker is not None:
            return None
        known = self.records.get(one.number).user_attrs.get(OWNER)
        if known is None or known["pid"] in (os.getpid(), one.process.pid):
            return None
        return owner.process_of(known)

    def look(self, jobs: list[job.Job]) -> None:
        """Mark running trials as failed if their process has ended."""
        own = {one.number for one in jobs}
        for trial in self.records.trials():
            if trial.state != TrialState.RUNNING or trial.number in own:
                continue
            known = trial.user_attrs.get(OWNER)
            alive = owner.is_alive(known) if known else None
            if alive is None:
                beat = self._beats.setdefault(trial.number, Beat())
                limit = self.sweeper.grace if known else OWNERLESS_SECONDS
                alive = beat.silent_for(trial.user_attrs.get(HEARTBEAT)) < limit
            if not alive:
                if known and (suspended := owner.process_of(known)):
                    suspended.kill()
                self._fail(trial, "its process has ended", Retry.COUNTED)

    def _fail(self, trial: FrozenTrial, error: str, retry: Retry) -> None:
        if self.records.fail(trial, error, retry):
            parent.close_child(inside(self.folder, trial.user_attrs.get(FOLDER, str(trial.number))))

    def show(self, jobs: list[job.Job]) -> None:
        """Refresh the table; after each trial, also the results."""
        trials = self.records.trials()
        self.table.show(trials, [one.number for one in jobs])
        num_ended = sum(trial.state in ENDED for trial in trials)
        if num_ended != self._published:
            self._published = num_ended
            names = self.records.study.metric_names or []
            publish(self.records, self.folder, names, self.space.fixed, self.sweeper.plots)
            parent.refresh(self.tracker, self.records, self.folder)


@dataclass
class Beat:
    """The heartbeat of a trial, timed by the clock of this process."""

    value: Any = None
    seen: float | None = None

    def silent_for(self, value: Any) -> float:
        """Seconds since the heartbeat last changed."""
        now = time.monotonic()
        if self.seen is None or value != self.value:
            self.value, self.seen = value, now
        return now - self.seen
