"""`task=best`: train the best configuration that a study found, in full."""

import logging
from dataclasses import dataclass
from pathlib import Path

import yaml

from flag3d_exp.config.command_line import assignment, select, within
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.errors import UserError
from flag3d_exp.sweep.results import FILE
from flag3d_exp.sweep.space import spelled
from flag3d_exp.tasks.streams import train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Best:
    """Settings of `task=best`.

    Args:
        study: the study's folder.
        trial: which of its Pareto front, where it had several objectives.
        train: settings of the task that replace the study's, such as `{epochs: 60}`.
    """

    study: str
    trial: int | None = None
    train: dict[str, object] | None = None

    def __call__(self, experiment: Experiment) -> None:
        """Train in the run folder with the study's overrides, its best parameters and ours."""
        found = study_results(Path(self.study))
        overrides = [
            *select(found["overrides"], lambda key: key != "sweep"),
            *(f"{key}={spelled(value)}" for key, value in self.parameters(found).items()),
            *select(experiment.overrides, lambda key: not within(key, "task")),
            *(assignment(f"task.{key}", value) for key, value in (self.train or {}).items()),
        ]
        train(experiment.folder / "train", overrides, experiment.flags)

    def parameters(self, found: dict) -> dict:
        """What the best trial drew.

        Raises:
            UserError: the study has no best trial yet, or several and none is named.
        """
        if "best_params" in found:
            return found["best_params"]
        front = {point["trial"]: point["params"] for point in found.get("pareto_front", [])}
        if not front:
            raise UserError(f"`task.study={self.study}` has no complete trial yet.")
        if self.trial not in front:
            raise UserError(
                f"`task.trial` must be one of the study's Pareto front, "
                f"{', '.join(map(str, front))}; got {self.trial}."
            )
        return front[self.trial]


def study_results(folder: Path) -> dict:
    """A study's optimization_results.yaml.

    Raises:
        UserError: there is none, or it is no YAML.
    """
    path = folder.expanduser() / FILE
    if not path.is_file():
        raise UserError(f"`task.study={folder}` is no study's folder: it has no {FILE}.")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"`task.study={folder}`: {path} can't be read: {reason}.") from error
