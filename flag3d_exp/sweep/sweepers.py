"""The settings of `hydra.sweeper`; imported at every start, so without slow imports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from flag3d_exp import bounds


@dataclass
class StudySettings:
    """Settings of a search with Optuna: `hydra/sweeper: flag3d_optuna`.

    Args:
        study_name: name of the study; a start with the same name continues it.
        storage: a journal file, database URL or gRPC proxy; None for a journal in the folder.
        n_trials: number of trials over all drivers and starts; retries do not count.
        n_jobs: number of trials at once.
        devices: `device.id` of each slot in turn; None leaves it as configured.
        runs_per_process: how many trials a process executes one after another; see `sweep.worker`.
        objectives: metric -> maximize or minimize; None for `task.objective` alone.
        params: the search space, in Hydra's sweep syntax; the command line adds to it.
        conditional: dotted name of a function that draws further settings from an `optuna.Trial`.
        max_retries: how often a trial whose process died is continued.
        max_failures: failed trials after which no more are started; None for no limit.
        grace: seconds without a heartbeat after which a trial of another host counts as dead; also
            the seconds that a job may be suspended, or take to stop, before it is killed.
        plots: draw the study's figures after each trial.
        sampler: function that makes Optuna's sampler from a seed.
        pruner: Optuna's pruner.
    """

    study_name: str
    storage: str | None = None
    n_trials: Annotated[int, ">= 1"] = 20
    n_jobs: Annotated[int, ">= 1"] = 1
    devices: list[Annotated[int, ">= 0"]] | None = None
    runs_per_process: Annotated[int, ">= 1"] = 20
    objectives: dict[str, str] | None = None
    params: dict[str, str] = field(default_factory=dict)
    conditional: str | None = None
    max_retries: Annotated[int, ">= 0"] = 2
    max_failures: Annotated[int, ">= 1"] | None = 5
    grace: Annotated[float, "> 0"] = 120.0
    plots: bool = True
    sampler: Callable[..., Any] | None = None
    pruner: Any = None

    def __post_init__(self) -> None:
        bounds.check(self, "hydra.sweeper")


@dataclass
class GridSettings:
    """Settings of a grid, of all combinations: `hydra/sweeper: flag3d_grid`.

    Args:
        n_jobs: number of runs at once.
        devices: `device.id` of each slot in turn; None leaves it as configured.
        runs_per_process: how many runs a process executes one after another; see `sweep.worker`.
        grace: seconds that a run may be suspended, or take to stop, before it is killed.
    """

    n_jobs: Annotated[int, ">= 1"] = 1
    devices: list[Annotated[int, ">= 0"]] | None = None
    runs_per_process: Annotated[int, ">= 1"] = 20
    grace: Annotated[float, "> 0"] = 120.0

    def __post_init__(self) -> None:
        bounds.check(self, "hydra.sweeper")
