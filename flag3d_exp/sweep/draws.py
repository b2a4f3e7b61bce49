"""The next trial of a driver, with a point that no earlier trial has."""

import time
from itertools import count

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from flag3d_exp.sweep.space import Space, identity
from flag3d_exp.sweep.trial_records import DRAWN, DROPPED, RETRY_OF, Retry, TrialRecords

MAX_DRAWS = 10
WAIT_SECONDS, LOOK_SECONDS = 5.0, 0.05


def next_trial(
    records: TrialRecords, space: Space, num_trials: int, rng: np.random.Generator
) -> tuple[optuna.Trial, list[str]] | None:
    """A claimed trial and the override lines of its point; None if the budget is spent.

    Equal runs have equal results, so the driver draws again if an earlier trial has the same point.
    After `MAX_DRAWS` draws it takes one of the unused points of a finite space.

    Args:
        num_trials: the budget, as `counted_trials` counts.
    """
    for attempt in count(1):
        trial = records.claim(num_trials)
        if trial is None:
            return None
        try:
            lines = space.draw(trial)
        except Exception as error:  # raised by a sampler or a conditional space
            reason = f"no point could be drawn: {type(error).__name__}: {error}"
            records.fail(records.get(trial.number), reason, Retry.NO)
            raise
        records.note(trial.number, **{DRAWN: True})
        twin = earlier_twin(records, trial.number)
        if twin is None:
            return trial, lines
        left = None
        if attempt >= MAX_DRAWS:
            left = space.point_besides([point_of(other) for other in records.trials()], rng)
            if left is None:
                return trial, lines
        records.drop(trial.number, f"its point is that of trial {twin}")
        if left is not None:
            records.study.enqueue_trial(left)
    raise AssertionError


def earlier_twin(records: TrialRecords, number: int) -> int | None:
    """The number of an earlier trial with the same point; None if there is none.

    If two drivers draw the same point at the same time, each writes its trial before it reads the
    other's. The trial with the lower number keeps the point.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        trials = records.trials()
        own = trials[number]
        if RETRY_OF in own.user_attrs:
            return None
        earlier = [t for t in trials[:number] if DROPPED not in t.user_attrs]
        for trial in earlier:
            if identity(point_of(trial)) == identity(own.params):
                return trial.number
        drawing = any(t.state == TrialState.RUNNING and DRAWN not in t.user_attrs for t in earlier)
        if not drawing or time.monotonic() >= deadline:  # its driver has died
            return None
        time.sleep(LOOK_SECONDS)


def point_of(trial: FrozenTrial) -> dict:
    """The parameters of a trial; for a waiting trial, the parameters that it will have."""
    return trial.params or trial.system_attrs.get("fixed_params", {})
