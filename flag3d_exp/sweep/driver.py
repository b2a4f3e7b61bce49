"""The driver of a study: keeps its slots filled until the budget is spent.

The storage is the truth. The driver holds nothing that a restart, or a driver on another machine,
could not read there; slots are filled one by one, so none waits for the slowest.
"""

import logging
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
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
from flag3d_exp.sweep import job, owner, parent
from flag3d_exp.sweep.begun import description
from flag3d_exp.sweep.draws import next_trial
from flag3d_exp.sweep.drivers import sampler_seed
from flag3d_exp.sweep.ledger import (
    ENDED,
    ERROR,
    FOLDER,
    HEARTBEAT,
    OWNER,
    Ledger,
    Retry,
    all_failed,
    check_attributes,
    counted,
)
from flag3d_exp.sweep.results import publish
from flag3d_exp.sweep.settings import (
    budget,
    check_objectives,
    default_objective,
    seeded_sampler,
)
from flag3d_exp.sweep.space import Space, choices_or_range, parse_space
from flag3d_exp.sweep.storage import open_study
from flag3d_exp.sweep.table import Table
from flag3d_exp.sweep.trial import Ticket

if TYPE_CHECKING:
    from hydra_plugins.flag3d_exp_sweeper import OptunaSweeper

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
LOOK_SECONDS = 1.0  # between two readings of the storage
OWNERLESS_SECONDS = 30.0  # a claimed trial gets its owner within milliseconds


def search(
    sweeper: "OptunaSweeper", config: DictConfig, loader: ConfigLoader, overrides: list[str]
) -> None:
    """Run the study that the sweeper describes.

    Raises:
        UserError: the study cannot be run, or too many of its trials failed.
    """
    HydraConfig.instance().set_config(config)  # for interpolations such as that of the folder
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
    ledger = Ledger(study, storage, sweeper.max_retries)
    check_attributes(ledger.trials())
    study.set_metric_names(list(objectives))
    tracker = parent.of_study(config, study, folder)
    launcher = config.hydra.runtime.choices.get("hydra/launcher") != "basic"
    pruner = OmegaConf.to_container(config.hydra.sweeper.pruner, resolve=True)
    assert isinstance(pruner, dict)
    ticket = partial(
        Ticket,
        study=study.study_name,
        storage=address,
        objectives=dict(objectives),
        pruner={str(k): v for k, v in pruner.items()},
        max_retries=sweeper.max_retries,
    )
    num_trials = budget(sweeper.n_trials, space)
    driver = Driver(
        sweeper, config.task, ledger, space, folder, tracker, num_trials, ticket, launcher, seed
    )
    status: Status = "FAILED"
    try:
        with (
            StopRequest(patience=2) as stop,
            Table(ledger, objectives, num_trials, sweeper.n_jobs) as table,
        ):
            driver.run(stop, table)
        failed = driver.too_many_failures() or all_failed(ledger.trials())
        status = "KILLED" if stop.signum else "FAILED" if failed else "FINISHED"
    except ImportError as error:
        raise UserError(f"`hydra/sweeper/sampler` lacks a package: {error}") from error
    finally:
        lines = publish(ledger, folder, list(objectives), space.fixed, sweeper.plots, flags)
        parent.refresh(tracker, ledger, folder)
        tracker.finish(status)
    for line in lines:
        log.info(line)
    if stop.signum:
        log.info("stopped; the same command continues the study: %s", job.command_line())
        sys.exit(128 + stop.signum)
    if driver.too_many_failures():
        raise UserError(
            f"{driver.num_failed} trials failed; `hydra.sweeper.max_failures` is "
            f"{sweeper.max_failures}; the last: {driver.last_error}. Their folders are in {folder}."
        )
    if failed:
        trials = counted(ledger.trials())
        raise UserError(
            f"all {len(trials)} trials failed; the last: trial {trials[-1].number}: "
            f"{trials[-1].user_attrs.get(ERROR, 'no reason')}. Their folders are in {folder}."
        )


class Driver:
    """One process that fills the slots of a study."""

    def __init__(
        self,
        sweeper: "OptunaSweeper",
        task: DictConfig,
        ledger: Ledger,
        space: Space,
        folder: Path,
        tracker: Tracker,
        num_trials: int,
        ticket: "partial[Ticket]",
        launcher: bool,
        seed: int,
    ):
        self.task = task
        self.sweeper, self.ledger, self.space, self.folder = sweeper, ledger, space, folder
        self.tracker, self.num_trials, self.ticket = tracker, num_trials, ticket
        self.launcher = launcher
        self.rng = np.random.default_rng(seed)
        self.jobs: list[job.Job] = []
        self.num_failed, self.last_error = 0, ""
        self._published = -1
        self._beats: dict[int, Beat] = {}

    def run(self, stop: StopRequest, table: Table) -> None:
        """Fill the slots until nothing is left to start or to wait for."""
        looked = 0.0
        asked_to_stop = False
        while True:
            ended = [one for one in self.jobs if one.returncode() is not None]
            for one in ended:
                self.jobs.remove(one)
                self._settle(one, bool(stop.signum))
            if stop.signum and not asked_to_stop:
                asked_to_stop = True
                log.info("stopping %d jobs; they save their state first", len(self.jobs))
                for one in self.jobs:
                    one.stop(self._worker(one))
            if stop.num_signals > 1:
                for one in self.jobs:
                    one.end("was ended by a second signal to the sweep", self._worker(one))
            if ended or time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                for one in self.jobs:
                    worker = self._worker(one) if self.launcher else None
                    one.end_if_stuck(self.sweeper.grace, worker)
                self._bury_the_dead()
                if not stop.signum and not self.too_many_failures():
                    self._fill()
                trials = self.ledger.trials()
                table.show(trials, [one.number for one in self.jobs])
                self._publish(trials)
                halted = stop.signum or self.too_many_failures()
                if not self.jobs and (halted or all(t.state in ENDED for t in counted(trials))):
                    return
            time.sleep(TICK_SECONDS)

    def too_many_failures(self) -> bool:
        """Whether `max_failures` trials of this driver failed for good."""
        limit = self.sweeper.max_failures
        return limit is not None and self.num_failed >= limit

    def _fill(self) -> None:
        busy = {one.slot for one in self.jobs}
        for slot in range(self.sweeper.n_jobs):
            if slot in busy:
                continue
            drawn = next_trial(self.ledger, self.space, self.num_trials, self.rng)
            if drawn is None:
                return
            self._start(*drawn, slot)

    def _start(self, trial: optuna.Trial, point: list[str], slot: int) -> None:
        lines = [*self.space.fixed, *point]
        devices = self.sweeper.devices
        if devices:
            lines.append(f"device.id={devices[slot % len(devices)]}")
        folder = inside(self.folder, self.ledger.get(trial.number).user_attrs[FOLDER])
        if "resume" in self.task and (folder / "history.jsonl").exists():
            lines.append("task.resume=auto")
        ticket = self.ticket(
            number=trial.number,
            title=f"trial {folder.name}",
            tags=parent.child_tags(self.tracker, trial.number),
        )
        where = (slot, self.sweeper.n_jobs)
        self.jobs.append(job.start(trial.number, folder, where, lines, ticket, self.launcher))

    def _settle(self, one: job.Job, stopping: bool) -> None:
        """See to a trial whose process has ended: it told its result, or has none."""
        trial = self.ledger.get(one.number)
        if trial.state == TrialState.RUNNING and not self._lives_elsewhere(trial, one):
            retry = Retry.FREE if stopping else Retry.COUNTED
            if one.process.returncode >= 0 and not self.launcher and not stopping:
                retry = Retry.NO
            error = "stopped with the sweep" if stopping else one.how_it_ended()
            self._bury(trial, error, retry)
        ended = self.ledger.get(one.number)
        if (
            ended.state == TrialState.FAIL
            and not stopping
            and ended in counted(self.ledger.trials())
        ):
            self.num_failed += 1
            self.last_error = f"trial {one.number}: {ended.user_attrs.get('error', 'no reason')}"

    def _lives_elsewhere(self, trial: FrozenTrial, one: job.Job) -> bool:
        """Whether the launcher's own process still works on the trial."""
        known = trial.user_attrs.get(OWNER)
        own = (os.getpid(), one.process.pid)
        return known is not None and known["pid"] not in own and owner.is_alive(known) is not False

    def _worker(self, one: job.Job) -> psutil.Process | None:
        """The process on this host that a launcher started for the trial."""
        known = self.ledger.get(one.number).user_attrs.get(OWNER)
        if known is None or known["pid"] in (os.getpid(), one.process.pid):
            return None
        return owner.process_of(known)

    def _bury_the_dead(self) -> None:
        """End the running trials whose process is gone."""
        own = {one.number for one in self.jobs}
        for trial in self.ledger.trials():
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
                self._bury(trial, "its process is gone", Retry.COUNTED)

    def _bury(self, trial: FrozenTrial, error: str, retry: Retry) -> None:
        if self.ledger.fail(trial, error, retry):
            parent.close_child(inside(self.folder, trial.user_attrs.get(FOLDER, str(trial.number))))

    def _publish(self, trials: list[FrozenTrial]) -> None:
        """Refresh the results after each trial."""
        num_ended = sum(trial.state in ENDED for trial in trials)
        if num_ended != self._published:
            self._published = num_ended
            names = self.ledger.study.metric_names or []
            publish(self.ledger, self.folder, names, self.space.fixed, self.sweeper.plots)
            parent.refresh(self.tracker, self.ledger, self.folder)


@dataclass
class Beat:
    """The heartbeat of a trial as seen from here, by this process's own clock."""

    value: Any = None
    seen: float | None = None

    def silent_for(self, value: Any) -> float:
        """Seconds since the heartbeat last changed."""
        now = time.monotonic()
        if self.seen is None or value != self.value:
            self.value, self.seen = value, now
        return now - self.seen
