"""`task=best`: train the best configuration of a study in full."""

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flag3d_exp.config.command_line import assignment, select, within
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.hydra_adapter import parse_overrides
from flag3d_exp.config.untrusted import checked_overrides
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.records import record
from flag3d_exp.reading.text import file_text, parsed_yaml
from flag3d_exp.sweep.results import FILE
from flag3d_exp.sweep.space import spelled_value
from flag3d_exp.tasks.streams import train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Best:
    """Settings of `task=best`.

    Args:
        study: the study's folder.
        trial: a trial of the Pareto front, if the study has several objectives.
        train: settings of the task that replace the study's, such as `{epochs: 60}`.
    """

    study: str
    trial: int | None = None
    train: dict[str, object] | None = None

    def __call__(self, experiment: Experiment) -> None:
        """Train with the study's overrides, its best parameters and the settings of `train`."""
        found = study_results(Path(self.study))
        own = [
            *select(experiment.overrides, lambda key: not within(key, "task")),
            *(assignment(f"task.{key}", value) for key, value in (self.train or {}).items()),
        ]
        lines = [
            *found.overrides,
            *(f"{key}={spelled_value(value)}" for key, value in self.parameters(found).items()),
        ]
        given = ["sweep", *(override.key_or_group for override in parse_overrides(own))]
        of_study = checked_overrides(lines, f"`task.study={self.study}`: {FILE}", given)
        train(experiment.folder / "train", [*of_study, *own], experiment.flags)

    def parameters(self, found: "Results") -> dict[str, Any]:
        """The drawn parameters of the best trial.

        Raises:
            UserError: the study has no best trial yet, or has several and none is named.
        """
        if found.best_params is not None:
            return found.best_params
        front = {point.trial: point.params for point in found.pareto_front}
        if not front:
            raise UserError(f"`task.study={self.study}` has no complete trial yet.")
        if self.trial not in front:
            raise UserError(
                f"`task.trial` must be one of the study's Pareto front, "
                f"{', '.join(map(str, front))}; got {self.trial}."
            )
        return front[self.trial]


@dataclass(frozen=True)
class Point:
    """A trial of a Pareto front and its drawn parameters."""

    trial: int
    params: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """The entries of a study's optimization_results.yaml that are used.

    Args:
        overrides: of all trials.
        best_params: drawn by the best trial; None if there are several objectives.
    """

    overrides: list[str]
    best_params: dict[str, Any] | None
    pareto_front: list[Point]


def study_results(folder: Path) -> Results:
    """Read a study's optimization_results.yaml.

    Raises:
        UserError: the file is missing or malformed.
    """
    path = folder.expanduser() / FILE
    if not os.path.isfile(path):
        raise UserError(f"`task.study={folder}` is no study's folder: it has no {FILE}.")
    try:
        found = parsed_yaml(file_text(path))
        if not isinstance(found, dict) or not isinstance(found.get("pareto_front", []), list):
            raise Malformed("it is not what a study writes")
        front = [
            record(Point, {key: one.get(key) for key in ("trial", "params")})
            for one in found.get("pareto_front", [])
            if isinstance(one, dict)
        ]
        used = {"overrides": found.get("overrides"), "best_params": found.get("best_params")}
        return replace(record(Results, used | {"pareto_front": []}), pareto_front=front)
    except Malformed as error:
        raise UserError(f"`task.study={folder}`: {path} can't be read: {error}.") from error
