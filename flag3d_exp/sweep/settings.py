"""Objectives, sampler and budget of a study, from the settings of the sweeper."""

from typing import Any

from omegaconf import DictConfig
from optuna.samplers import BaseSampler, GridSampler

from flag3d_exp.errors import UserError
from flag3d_exp.sweep.space import Space


def default_objective(config: DictConfig) -> dict[str, str]:
    """`task.objective` and its direction.

    Raises:
        UserError: the task has no objective.
    """
    name = config.task.get("objective")
    if name is None:
        raise UserError(
            "`hydra.sweeper.objectives` must be given for a task without `task.objective`: "
            "{metric: maximize}."
        )
    return {name: "minimize" if name.endswith("loss") else "maximize"}


def check_objectives(objectives: dict[str, str], config: DictConfig) -> None:
    """Refuse an unknown direction, and a pruner for several objectives.

    Raises:
        UserError: names what is accepted.
    """
    for name, direction in objectives.items():
        if direction not in ("maximize", "minimize"):
            raise UserError(
                f"`hydra.sweeper.objectives`: {name} must be maximize or minimize; got {direction}."
            )
    pruner = config.hydra.sweeper.pruner._target_
    if len(objectives) > 1 and not pruner.endswith("NopPruner"):
        raise UserError(
            "Several objectives cannot be pruned: `hydra/sweeper/pruner=none`; "
            f"got {pruner.rpartition('.')[2]}."
        )


def seeded_sampler(make: Any, seed: int, space: Space) -> BaseSampler:
    """The configured sampler."""
    if make.func is GridSampler:
        return make(space.grid(), seed=seed)
    return make(seed=seed)


def budget(num_trials: int, space: Space) -> int:
    """`n_trials`, or the number of points of a finite space if it is smaller."""
    return num_trials if space.size is None else min(num_trials, space.size)
