"""Hydra's sweeper plugins for flag3d_exp.sweep; imported at every start, without slow imports."""

from dataclasses import dataclass

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from flag3d_exp.credentials import hidden
from flag3d_exp.sweep.sweepers import GridSettings, StudySettings


@dataclass
class OptunaSweeper(StudySettings, Sweeper):
    """Search with Optuna: `hydra/sweeper: flag3d_optuna`."""

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
class GridSweeper(GridSettings, Sweeper):
    """Run every combination: `hydra/sweeper: flag3d_grid`."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra knows of this start."""
        from flag3d_exp.config.secrecy import hide_in

        hide_in(config)
        self.context, self.task, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Run the combinations that are not finished yet."""
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

    from flag3d_exp.config.recall import expanded_words

    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task, config=config
    )
    results = launcher.launch([expanded_words(overrides)], initial_job_idx=0)
    _ = results[0].return_value  # raises the job's exception
