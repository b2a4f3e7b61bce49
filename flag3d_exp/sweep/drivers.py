"""The drivers of a study, in the order of their starts, and what the first one began it with.

They are the trials of a second study in the same storage. Adding a trial is atomic in every
storage, so that drivers on several machines get different numbers without a lock between them.
"""

import socket
from typing import Any

import numpy as np
import optuna
from optuna.samplers import QMCSampler
from optuna.storages import BaseStorage
from optuna.trial import TrialState

SUFFIX = ".drivers"  # of the second study's name
HOST, BEGUN = "host", "begun"  # user attributes of a driver


def register(study: str, storage: BaseStorage, begun: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Add this start to the study's drivers.

    Args:
        begun: what it would begin the study with.

    Returns:
        Its number, from 0, and what the first driver began the study with.
    """
    drivers = optuna.create_study(
        storage=storage, study_name=f"{study}{SUFFIX}", load_if_exists=True
    )
    # Complete from the start: nothing will ever be told of it.
    entry = optuna.create_trial(
        state=TrialState.COMPLETE,
        value=0.0,
        user_attrs={HOST: socket.gethostname(), BEGUN: begun},
    )
    study_id = storage.get_study_id_from_name(drivers.study_name)
    trial_id = storage.create_new_trial(study_id, template_trial=entry)
    first = drivers.get_trials(deepcopy=False)[0]
    return storage.get_trial_number_from_id(trial_id), first.user_attrs[BEGUN]


def sampler_seed(seed: int, driver: int, make: Any) -> int:
    """The seed of a driver's sampler: drivers draw different points.

    Quasi-random samplers share the seed, because their points are those of one sequence.
    """
    if driver == 0 or make.func is QMCSampler:
        return seed
    return int(np.random.SeedSequence((seed, driver)).generate_state(1)[0])
