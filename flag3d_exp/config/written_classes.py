"""`task.classes`: classes that a user writes down, for a network that was trained with texts."""

from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.errors import UserError
from flag3d_exp.texts.descriptions import class_descriptions, read_descriptions, text_path

ALIGN = "flag3d_exp.problems.align.Align"


def with_classes(experiment: Experiment, texts: str) -> tuple[Experiment, list[str]]:
    """The experiment with the classes of a text file, and the names of the classes.

    Raises:
        UserError: the checkpoint's network has no text vectors, or the file can't be used.
    """
    if experiment.config.problem._target_ != ALIGN:
        raise UserError(
            "`task.classes` needs a network that was trained with texts, `problem=align`; this one "
            f"was trained with `problem={experiment.choices.get('problem')}`."
        )
    path = text_path(texts, "task.classes")
    names = list(read_descriptions(path, "task.classes"))
    if len(names) < 2:
        raise UserError(f"`task.classes` file {path} must have at least 2 classes to choose among.")
    class_descriptions(texts, names, "task.classes")
    config = experiment.config.copy()
    problem: Any = experiment.problem()  # ALIGN's
    trained = problem.num_anchors or int(problem.trained.sum())
    chosen = {"texts": texts, "classes": names, "unseen": None, "num_anchors": trained}
    config.problem = OmegaConf.merge(config.problem, chosen)
    return replace(experiment, config=config), names
