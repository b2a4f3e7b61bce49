"""The trials of a study in its storage: any process can claim, end and retry them.

Every step leaves the storage in a state from which any process can continue. For a trial that ends
without a result, a successor is queued before the trial is marked FAIL. If a process dies between
the two steps, or two processes do them at once, there may be two successors; the process that
claims the later successor drops it. In the same way, the process that claims a trial beyond the
budget drops it. So no lock between machines is needed.
"""

import reprlib
from collections.abc import Sequence
from enum import Enum
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from flag3d_exp.errors import UserError
from flag3d_exp.sweep.owner import this_process

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
# user attributes of a trial
OWNER, HEARTBEAT, FOLDER, ERROR = "owner", "heartbeat", "folder", "error"
RETRY_OF, NUM_DEATHS, DROPPED, DRAWN = "retry_of", "num_deaths", "dropped", "drawn"
ATTRIBUTES: dict[str, type] = {
    OWNER: dict,
    HEARTBEAT: int,
    FOLDER: str,
    ERROR: str,
    RETRY_OF: int,
    NUM_DEATHS: int,
    DROPPED: str,
    DRAWN: bool,
}


class Retry(Enum):
    """Whether a trial that ended without a result is retried."""

    NO = "no"
    COUNTED = "counted"  # counts towards `max_retries`
    FREE = "free"  # it was asked to stop


class TrialRecords:
    """The trials of one study."""

    def __init__(self, study: optuna.Study, storage: BaseStorage, max_retries: int = 0):
        self.study, self.storage, self.max_retries = study, storage, max_retries
        self._study_id = storage.get_study_id_from_name(study.study_name)

    def trials(self) -> list[FrozenTrial]:
        """The current state of all trials, by number."""
        return self.study.get_trials(deepcopy=False)

    def trial_id(self, number: int) -> int:
        """The storage's key of a trial."""
        return self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def get(self, number: int) -> FrozenTrial:
        """The current state of a trial."""
        return self.storage.get_trial(self.trial_id(number))

    def note(self, number: int, **attributes: Any) -> None:
        """Set user attributes of a trial that has not ended."""
        for key, value in attributes.items():
            self.storage.set_trial_user_attr(self.trial_id(number), key, value)

    def claim(self, num_trials: int) -> optuna.Trial | None:
        """Claim a waiting trial, else a new one; return None if the budget is spent.

        Args:
            num_trials: the budget, as `counted_trials` counts.
        """
        while True:
            trials = self.trials()
            waiting = any(trial.state == TrialState.WAITING for trial in trials)
            if not waiting and len(counted_trials(trials)) >= num_trials:
                return None
            trial = self.study.ask()
            reason = reason_unwanted(trial.number, self.trials(), num_trials)
            if reason is None:
                self.note(trial.number, **{OWNER: this_process(), HEARTBEAT: 0})
                if FOLDER not in trial.user_attrs:
                    self.note(trial.number, **{FOLDER: str(trial.number)})
                return trial
            self.drop(trial.number, reason)

    def drop(self, number: int, reason: str) -> None:
        """End a claimed trial that will not be run; it does not count towards the budget."""
        self.note(number, **{DROPPED: reason})
        self._set_failed(number)

    def fail(self, trial: FrozenTrial, error: str, retry: Retry) -> bool:
        """End a trial without a result and queue its successor; False if it had already ended."""
        if self.get(trial.number).state in ENDED:
            return False
        deaths = trial.user_attrs.get(NUM_DEATHS, 0) + (retry is Retry.COUNTED)
        wanted = retry is not Retry.NO and deaths <= self.max_retries
        if wanted and trial.number not in successors(self.trials()):
            self.study.add_trial(successor(trial, deaths))
        try:
            self.note(trial.number, **{ERROR: error})
        except UpdateFinishedTrialError:
            return False
        return self._set_failed(trial.number)

    def _set_failed(self, number: int) -> bool:
        try:
            return self.storage.set_trial_state_values(self.trial_id(number), TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False


def check_attributes(trials: Sequence[FrozenTrial]) -> None:
    """Refuse a study with malformed attributes of trials.

    Raises:
        UserError: names the trial and the attribute.
    """
    for trial in trials:
        for key, kind in ATTRIBUTES.items():
            value: Any = trial.user_attrs.get(key)
            fits = type(value) is kind and (key != RETRY_OF or 0 <= value < len(trials))
            if key == OWNER and fits:
                parts = [type(value.get(part)) for part in ("host", "pid", "started")]
                fits = parts in ([str, int, float], [str, int, int])
            if value is not None and not fits:
                raise UserError(
                    f"the study's storage: trial {trial.number} has `{key}` "
                    f"{reprlib.repr(value)}, which is not what a sweep writes."
                )


def successor(trial: FrozenTrial, deaths: int) -> FrozenTrial:
    """A waiting trial with the parameters, the folder and the reports of a trial that died."""
    kept = {k: v for k, v in trial.user_attrs.items() if k not in (OWNER, HEARTBEAT, ERROR)}
    return optuna.create_trial(
        state=TrialState.WAITING,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values,
        user_attrs=kept | {RETRY_OF: trial.number, NUM_DEATHS: deaths},
        system_attrs=trial.system_attrs,
    )


def successors(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """Number of a trial -> number of the first trial that retries it, if it needs a retry."""
    found: dict[int, int] = {}
    for trial in trials:
        retried = trial.user_attrs.get(RETRY_OF)
        if retried is None or DROPPED in trial.user_attrs:
            continue
        if trials[retried].state not in (TrialState.COMPLETE, TrialState.PRUNED):
            found.setdefault(retried, trial.number)
    return found


def counted_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count towards the budget: all except retried trials and unneeded retries."""
    retries = successors(trials)
    needed = set(retries.values())
    return [
        trial
        for trial in trials
        if trial.number not in retries
        and DROPPED not in trial.user_attrs
        and (RETRY_OF not in trial.user_attrs or trial.number in needed)
    ]


def all_failed(trials: Sequence[FrozenTrial]) -> bool:
    """Whether there are trials and all of them failed without a further retry."""
    kept = counted_trials(trials)
    return bool(kept) and all(trial.state == TrialState.FAIL for trial in kept)


def reason_unwanted(number: int, trials: Sequence[FrozenTrial], num_trials: int) -> str | None:
    """The reason why a claimed trial must not run; None if it may run."""
    used = [trial.number for trial in counted_trials(trials)]
    if number not in used:
        return f"trial {trials[number].user_attrs[RETRY_OF]} needs no other retry"
    return f"beyond {num_trials} trials" if used.index(number) >= num_trials else None
