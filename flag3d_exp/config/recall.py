"""What a run that the command line refers to brings along: its choices, values and command line."""

import re
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from flag3d_exp.config.checks import top_level
from flag3d_exp.config.command_line import CommandLine, assignment, select
from flag3d_exp.config.recalled import groups
from flag3d_exp.errors import UserError, blamed_on

OWN_GROUPS = ("task", "device", "tracking")  # never taken from the checkpoint's run
PREPROCESSING = (  # of `dataset`; another dataset brings its file, its splits and its names
    "num_persons",
    "num_channels",
    "score_channel",
    "normalise",
    "score_threshold",
    "clip_len",
)
CHOICE = re.compile(r"\w[\w.-]*")


def expanded(argv: Sequence[str]) -> list[str]:
    """The command line, preceded by what the run that it refers to was started with.

    `task.resume=<run>` repeats the run's own command line in its own folder.
    `task.checkpoint=<file>` composes the groups and the seed of the checkpoint's run, except what
    the command line chooses; its other settings, such as `model.sigma=1`, come on top.

    Raises:
        UserError: the run or the checkpoint cannot be read.
    """
    line = CommandLine.parse(argv)
    if line.runs_nothing:
        return list(argv)
    resume = line.text("task.resume")
    if resume not in (None, "auto", "null"):
        return _resumed(resume, line)
    return line.argv(before=recall(line))


@blamed_on("task.resume")
def _resumed(reference: str, line: CommandLine) -> list[str]:
    from flag3d_exp.runs.references import find_run_folder

    folder = find_run_folder(reference, "task.resume", line.text("tracking.uri"))
    known = folder / ".hydra" / "overrides.yaml"
    if not known.is_file():
        raise UserError(
            f"`task.resume={reference}` holds no run: there is no {known}. "
            "`task.resume=auto` continues what `hydra.run.dir` holds."
        )
    started_with = [str(override) for override in OmegaConf.load(known)]
    saved = select(started_with, lambda key: key != "task.resume")
    own_folder = assignment("hydra.run.dir", str(folder.resolve()))
    given = line.without("task.resume")
    return given.argv(before=saved, after=["task.resume=auto", own_folder])


def recall(line: CommandLine) -> list[str]:
    """Make the groups of the checkpoint's run choices of Hydra; the overrides that choose them.

    Until the next call they hide choices of the same names in conf/, so that Hydra composes the
    values of the run, and needs no `--config-dir` that the run's own choices came from.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    groups.clear()
    reference = line.text("task.checkpoint")
    if reference is None or "experiment" in line.by_key:
        return []
    from flag3d_exp.engine.checkpoint import load_meta
    from flag3d_exp.runs.references import find_checkpoint

    path = find_checkpoint(reference, "task.checkpoint", line.text("tracking.uri"))
    if path.suffix != ".npz":
        return []
    with blamed_on("task.checkpoint"):
        saved, choices = saved_configuration(load_meta(path))
    replaced = {group for group in choices if line.text(group) not in (None, choices[group])}
    if "model" in replaced:
        replaced.add("pipeline")  # the other model brings its own
    for group in choices.keys() - replaced:
        groups[group] = (choices[group], saved[group])
    given = {"seed": saved.seed} if "seed" in saved else {}
    given |= {group: choice for group, choice in choices.items() if group not in replaced}
    if "dataset" in replaced and "model" not in replaced:
        given |= preprocessing(saved)
    return [assignment(key, value) for key, value in given.items() if key not in line.by_key]


def preprocessing(saved: DictConfig) -> dict[str, Any]:
    """How the run prepared its clips, as settings of `dataset`: they belong to the checkpoint."""
    known = OmegaConf.to_container(saved.dataset, resolve=False)
    assert isinstance(known, dict)
    return {f"dataset.{key}": known[key] for key in PREPROCESSING if key in known}


def saved_configuration(meta: dict[str, Any]) -> tuple[DictConfig, dict[str, str]]:
    """What a checkpoint says of its run: the configuration, and the choice made in each group.

    Args:
        meta: the checkpoint's.
    """
    saved = OmegaConf.create(meta.get("config", ""))
    assert isinstance(saved, DictConfig)
    if "model" in saved:
        saved.model.pop("num_classes", None)  # older checkpoints repeat the dataset's there
    found = [str(group) for group in saved if isinstance(saved[group], DictConfig)]
    taken = [group for group in found if group in top_level() and group not in OWN_GROUPS]
    names = {group: str(meta.get("choices", {}).get(group)) for group in taken}
    return saved, {
        group: name if CHOICE.fullmatch(name) else "checkpoint" for group, name in names.items()
    }
