"""The drivers of a study in the order of their starts, and the settings of the first driver.

The drivers are trials of a second study in the same storage. Adding a trial is atomic in every
storage, so drivers on several machines get different numbers without a common lock.
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
        begun: the description of the sweep that this driver was started with.

    Returns:
        The number of this driver, from 0, and the description from the first driver.
    """
    drivers = optuna.create_study(
        storage=storage, study_name=f"{study}{SUFFIX}", load_if_exists=True
    )
    # Added as complete, because no result will be reported for it.
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
    """The seed of a driver's sampler; drivers have different seeds to draw different points.

    Quasi-random samplers share the seed, because their points belong to one sequence.
    """
    if driver == 0 or make.func is QMCSampler:
        return seed
    return int(np.random.SeedSequence((seed, driver)).generate_state(1)[0])
