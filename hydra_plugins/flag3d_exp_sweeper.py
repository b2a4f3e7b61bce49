"""Hydra's handles on flag3d_exp.sweep; imported at every start, so it imports nothing heavy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from flag3d_exp import bounds
from flag3d_exp.credentials import hidden


@dataclass
class OptunaSweeper(Sweeper):
    """Search with Optuna: `hydra/sweeper: flag3d_optuna`.

    Args:
        study_name: the study that the same name continues.
        storage: a journal file, database URL or gRPC proxy; None for a journal in the folder.
        n_trials: trials in all, over every driver and every start; retries do not count.
        n_jobs: trials at once.
        devices: `device.id` of each slot in turn; None leaves it as configured.
        objectives: metric -> maximize or minimize; None for `task.objective` alone.
        params: the search space, in Hydra's sweep syntax; the command line adds to it.
        conditional: dotted name of a function that draws more from an `optuna.Trial`.
        max_retries: how often a trial whose process died is continued.
        max_failures: failed trials after which no more are started; None for no limit.
        grace: seconds without a heartbeat after which another host's trial is taken for dead;
            those that a job may be suspended, or take to stop, before it is killed.
        plots: draw the study's figures after each trial.
        sampler: what makes Optuna's sampler; it is given the seed.
        pruner: Optuna's pruner.
    """

    study_name: str
    storage: str | None = None
    n_trials: Annotated[int, ">= 1"] = 20
    n_jobs: Annotated[int, ">= 1"] = 1
    devices: list[Annotated[int, ">= 0"]] | None = None
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

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra knows of this start."""
        from flag3d_exp.config.secrecy import hide_in

        hide_in(config)
        self.storage = self.storage and hidden(self.storage)
        self.context, self.task, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Search until the budget is spent."""
        from flag3d_exp.sweep import driver, job

        assert self.config is not None
        handed_on = job.handed_on()
        if handed_on is not None:
            launch(self.context, self.task, self.config, handed_on)
        else:
            driver.search(self, self.config, self.context.config_loader, arguments)


@dataclass
class GridSweeper(Sweeper):
    """Run every combination, each in a process of its own: `hydra/sweeper: flag3d_grid`.

    Args:
        n_jobs: runs at once.
        devices: `device.id` of each slot in turn; None leaves it as configured.
        grace: seconds that a run may be suspended, or take to stop, before it is killed.
    """

    n_jobs: Annotated[int, ">= 1"] = 1
    devices: list[Annotated[int, ">= 0"]] | None = None
    grace: Annotated[float, "> 0"] = 120.0

    def __post_init__(self) -> None:
        bounds.check(self, "hydra.sweeper")

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra knows of this start."""
        from flag3d_exp.config.secrecy import hide_in

        hide_in(config)
        self.context, self.task, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Run what is not finished yet."""
        from flag3d_exp.sweep import grid, job

        assert self.config is not None
        handed_on = job.handed_on()
        if handed_on is not None:
            launch(self.context, self.task, self.config, handed_on)
        else:
            grid.run(self, self.config, self.context.config_loader, arguments)


def launch(
    context: HydraContext, task: TaskFunction, config: DictConfig, overrides: list[str]
) -> None:
    """Run one job through the configured Hydra launcher."""
    from hydra.core.plugins import Plugins

    from flag3d_exp.config.recall import expanded

    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task, config=config
    )
    results = launcher.launch([expanded(overrides)], initial_job_idx=0)
    _ = results[0].return_value  # raises what the job raised
