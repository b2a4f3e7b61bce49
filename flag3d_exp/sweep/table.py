"""The live table of a study on a terminal; without a terminal, one line per ended trial."""

import logging
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from flag3d_exp.console import formatted_value
from flag3d_exp.sweep.results import counts_line
from flag3d_exp.sweep.space import spelled_value
from flag3d_exp.sweep.trial_records import (
    DROPPED,
    ENDED,
    ERROR,
    OWNER,
    TrialRecords,
    counted_trials,
    successors,
)

log = logging.getLogger(__name__)

MARKS = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
REDRAW_SECONDS = 2.0


class Table:
    """The trials by state, running trials with epoch and value, the best trial, the time left."""

    def __init__(
        self, records: TrialRecords, objectives: Mapping[str, str], num_trials: int, num_slots: int
    ):
        self.records, self.metrics = records, list(objectives)
        self.num_trials, self.num_slots = num_trials, num_slots
        self._told = {trial.number for trial in records.trials() if trial.state in ENDED}
        self._live: Live | None = None
        self._drawn = 0.0

    def __enter__(self) -> "Table":
        study = self.records.study
        log.info("study %s: %s", study.study_name, counts_line(self.records.trials()))
        if sys.stdout.isatty():
            live = Live(console=Console(file=sys.stdout), auto_refresh=False, transient=True)
            live.start()
            self._live = live
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, trials: Sequence[FrozenTrial], own: Collection[int]) -> None:
        """Show the changes since the last call.

        Args:
            own: the trials in this driver's slots.
        """
        for trial in trials:
            if trial.state in ENDED and trial.number not in self._told:
                self._told.add(trial.number)
                if DROPPED not in trial.user_attrs:
                    continued = trial.number in successors(trials)
                    note = "; another trial continues it" if continued else ""
                    log.info(ended_line(trial, self.metrics) + note)
        if self._live is not None and time.monotonic() - self._drawn >= REDRAW_SECONDS:
            self._drawn = time.monotonic()
            self._live.update(self._table(trials, own), refresh=True)

    def _table(self, trials: Sequence[FrozenTrial], own: Collection[int]) -> Group:
        head = f"{self.records.study.study_name}: {counts_line(trials)} of {self.num_trials}"
        left = time_left(trials, self.num_trials, self.num_slots)
        lines = [Text(head + (f", about {left} left" if left else ""))]
        if len(self.metrics) == 1 and self.records.study.best_trials:
            best = self.records.study.best_trials[0]
            lines.append(Text(f"best: {ended_line(best, self.metrics)}"))
        table = RichTable(box=None, pad_edge=False)
        for name in ("trial", "epoch", " ".join(self.metrics), "parameters", "where"):
            table.add_column(name)
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                epoch = trial.last_step
                value = None if epoch is None else trial.intermediate_values[epoch]
                where = trial.user_attrs.get(OWNER, {}).get("host", "")
                table.add_row(
                    str(trial.number),
                    str(epoch or ""),
                    "" if value is None else formatted_value(self.metrics[0], value),
                    parameters(trial),
                    "here" if trial.number in own else where,
                )
        return Group(*lines, table)


def ended_line(trial: FrozenTrial, metrics: Sequence[str]) -> str:
    """One line about a trial that has ended."""
    state = MARKS[trial.state]
    what = ""
    if trial.state == TrialState.FAIL:
        what = trial.user_attrs.get(ERROR, "")
    elif trial.values:
        pairs = zip(metrics, trial.values, strict=True)
        what = "  ".join(f"{name} {formatted_value(name, value)}" for name, value in pairs)
    if trial.state == TrialState.PRUNED:
        what += f" at epoch {trial.last_step}"
    return f"trial {trial.number} {state}  {what}  {parameters(trial)}"


def parameters(trial: FrozenTrial) -> str:
    """The drawn values of a trial, shortened for reading."""
    return " ".join(
        f"{key.rpartition('.')[2]}={value:.3g}"
        if isinstance(value, float)
        else f"{key.rpartition('.')[2]}={spelled_value(value)}"
        for key, value in trial.params.items()
    )


def time_left(trials: Sequence[FrozenTrial], num_trials: int, num_slots: int) -> timedelta | None:
    """The time for the remaining trials, from the mean duration; None before a trial ended."""
    ended = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    durations = [t.duration.total_seconds() for t in ended if t.duration]
    if not durations:
        return None
    mean = fmean(durations)
    running = [t.datetime_start for t in trials if t.state == TrialState.RUNNING]
    spent = sum((datetime.now() - start).total_seconds() for start in running if start)
    missing = num_trials - len([t for t in counted_trials(trials) if t.state in ENDED])
    seconds = max(0.0, missing * mean - min(spent, len(running) * mean)) / num_slots
    return timedelta(seconds=round(seconds))
