"""A trial within its job: report to the study, stop when pruned, report the result.

A driver puts `trial.json` into the folder of a job. A job that finds this file takes part in the
study of the storage that the file names. A job needs nothing else to know that it is part of a
sweep, so any Hydra launcher can run it.
"""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flag3d_exp import files
from flag3d_exp.config.untrusted import check_objects
from flag3d_exp.engine.interrupt import Interrupted, Pruned
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.records import record
from flag3d_exp.runs.run_folder import read_json, read_metrics
from flag3d_exp.runs.trial_hooks import TrialHooks

log = logging.getLogger(__name__)

FILE = "trial.json"
PRUNER = (
    "FLAG3D_EXP_PRUNER"  # environment variable: the pruner that the driver of this job has chosen
)
BEAT_SECONDS = 15.0


@dataclass(frozen=True)
class JobSettings:
    """The settings that a driver passes to a job.

    Args:
        study: the study's name; None for a job of a plain grid.
        storage: the study's storage.
        number: of the trial.
        objectives: metric -> `maximize` or `minimize`.
        pruner: the configuration of Optuna's pruner.
        max_retries: how often a trial that died is tried again.
        title: name of the MLflow run; empty for the run's default name.
        tags: for the MLflow run.
    """

    study: str | None = None
    storage: str = ""
    number: int = 0
    objectives: dict[str, str] = field(default_factory=dict)
    pruner: dict[str, Any] = field(default_factory=dict)
    max_retries: int = 0
    title: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the settings into a job's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / FILE, asdict(self), private=True)


def read_job_settings(folder: Path) -> JobSettings | None:
    """The settings in a job's folder; None if the job is not part of a sweep.

    Raises:
        UserError: the file is malformed, or names a pruner that is not Optuna's.
    """
    found = read_json(folder, FILE)
    if found is None:
        return None
    try:
        own = record(JobSettings, found)
    except Malformed as error:
        raise UserError(f"{folder / FILE}: {error}.") from error
    if json.dumps(own.pruner) != os.environ.get(PRUNER):
        check_objects("hydra.sweeper.pruner", own.pruner, str(folder / FILE))
    return own


def run(folder: Path, task: Callable[[TrialHooks | None], float | None]) -> float | None:
    """Run a task; if its folder belongs to a trial, report to the study how it ended.

    Args:
        folder: the run folder; a driver has put `trial.json` into the folder of a job.
        task: called with the run's trial hooks, or with None outside a sweep.

    Raises:
        UserError: the trial is not in the state RUNNING, so its result would be lost.
    """
    own = read_job_settings(folder)
    if own is None:
        return task(None)
    if own.study is None:
        return task(TrialHooks(own.title, own.tags))
    with closing(Trial(own)) as trial:
        try:
            value = task(TrialHooks(own.title, own.tags, trial.report))
        except Pruned:
            trial.prune()
            log.info("pruned at epoch %d", trial.last_epoch)
            return None
        except Interrupted as error:
            trial.fail(str(error), may_retry=True)
            raise
        except Exception as error:
            trial.fail(f"{type(error).__name__}: {error}", may_retry=False)
            raise
        trial.complete(value, folder)
        return value


class Trial:
    """A running trial in the process that runs it."""

    def __init__(self, settings: JobSettings):
        import optuna
        from hydra.utils import instantiate

        from flag3d_exp.sweep.owner import this_process
        from flag3d_exp.sweep.storage import open_storage
        from flag3d_exp.sweep.trial_records import HEARTBEAT, OWNER, TrialRecords

        storage = open_storage(settings.storage)
        # The driver has already drawn the trial; this sampler draws nothing.
        study = optuna.load_study(
            study_name=settings.study,
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),
            pruner=instantiate(settings.pruner) if settings.pruner else None,
        )
        self.settings, self._records = settings, TrialRecords(study, storage, settings.max_retries)
        state = self._records.get(settings.number).state
        if state != optuna.trial.TrialState.RUNNING:
            raise UserError(
                f"Trial {settings.number} of study {settings.study} is {state.name}, not RUNNING; "
                "choose another `hydra.run.dir`."
            )
        self._records.note(settings.number, **{OWNER: this_process(), HEARTBEAT: 0})
        self._trial = optuna.Trial(study, self._records.trial_id(settings.number))
        self._known = set(self._records.get(settings.number).intermediate_values)
        self.last_epoch = 0
        self._resting = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report the objective after `epoch`; studies with several objectives accept no reports.

        Raises:
            Pruned: the study's pruner stops the trial.
        """
        self.last_epoch = epoch
        if len(self.settings.objectives) != 1:
            return
        if epoch not in self._known:  # a resumed trial repeats epochs
            self._trial.report(metrics[next(iter(self.settings.objectives))], epoch)
            self._known.add(epoch)
        if self._trial.should_prune():
            raise Pruned

    def complete(self, value: float | None, folder: Path) -> None:
        """Report the result: the task's return value, or several metrics of its metrics.json.

        Raises:
            UserError: a metric is missing or not a number.
        """
        from optuna.trial import TrialState

        names = list(self.settings.objectives)
        values = [value] if len(names) == 1 else _metrics(folder, names)
        known = [v for v in values if v is not None and v == v]  # neither missing nor NaN
        if len(known) < len(names):
            self.fail(f"no value of {', '.join(names)}: {values}", may_retry=False)
            raise UserError(f"The run yields no number for {', '.join(names)}; got {values}.")
        self.close()
        self._records.study.tell(self.settings.number, known, TrialState.COMPLETE)

    def prune(self) -> None:
        """Mark the trial as pruned; its last report is its value."""
        from optuna.trial import TrialState

        self.close()
        self._records.study.tell(self.settings.number, state=TrialState.PRUNED)

    def fail(self, error: str, may_retry: bool) -> None:
        """Mark the trial as failed, with the reason."""
        from flag3d_exp.sweep.trial_records import Retry

        self.close()
        trial = self._records.get(self.settings.number)
        self._records.fail(trial, error, Retry.FREE if may_retry else Retry.NO)

    def close(self) -> None:
        """Stop the heartbeat."""
        self._resting.set()
        self._heart.join()

    def _beat(self) -> None:
        """Store heartbeats for other hosts; stop the process if another process ended the trial."""
        from optuna.exceptions import UpdateFinishedTrialError

        from flag3d_exp.sweep.trial_records import HEARTBEAT

        count = 0
        while not self._resting.wait(BEAT_SECONDS):
            count += 1
            try:
                self._records.note(self.settings.number, **{HEARTBEAT: count})
            except UpdateFinishedTrialError:
                log.warning("Another process ended trial %d; stopping.", self.settings.number)
                with suppress(ProcessLookupError):
                    os.kill(os.getpid(), signal.SIGTERM)
                return
            except Exception as error:  # the storage may be unreachable for a while
                log.warning("The heartbeat could not be stored: %s", error)


def _metrics(folder: Path, names: list[str]) -> list[float | None]:
    known = read_metrics(folder)
    return [known.get(name) for name in names]
