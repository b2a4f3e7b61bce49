"""How clips are prepared for a checkpoint's network: as in training, on any dataset.

Another dataset brings its file, its splits and its names. The preparation of a recording belongs to
the checkpoint. The command line can still change it; every change is logged.
"""

from collections.abc import Mapping
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from flag3d_exp.config.command_line import assignment
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.recall import preprocessing, saved_configuration
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.reading.settings import resolved_values
from flag3d_exp.skeletons.layout import load_layout

GROUPS = ("stream", "pipeline")


def departures(experiment: Experiment, meta: dict[str, Any]) -> list[str]:
    """One line for each setting that differs from the checkpoint's training or from the dataset.

    Args:
        meta: the checkpoint's.

    Raises:
        UserError: the dataset's classes or joints are not those of the checkpoint.
    """
    if not meta.get("config"):
        return []
    saved, choices = saved_configuration(meta)
    with blamed_on("dataset"):
        trained_on = resolved_values(saved).get("dataset")
        known = trained_on if isinstance(trained_on, dict) else {}
        check_compatible(known, experiment.config.dataset)
    kept = preprocessing(saved)
    before = kept | _written_settings(saved)
    now = {path: OmegaConf.select(experiment.config, path) for path in kept}
    composed = OmegaConf.to_container(experiment.config, resolve=False)
    assert isinstance(composed, dict)
    now |= _written_settings(composed)
    lines = [
        f"The clips are prepared differently than in training: `{path}` is {now[path]}, "
        f"was {value}."
        for path, value in before.items()
        if path in now and now[path] != value
    ]
    chosen = experiment.choices.get("dataset")
    if chosen == choices.get("dataset"):
        return lines
    added = {assignment(path, value) for path, value in kept.items()}
    own = compose("config", [line for line in experiment.overrides if line not in added])
    return lines + [
        f"The clips are prepared as in training: `{path}` is {now[path]}; "
        f"`dataset={chosen}` says {OmegaConf.select(own, path)}."
        for path in kept
        if OmegaConf.select(own, path) != now[path]
    ]


def check_compatible(trained_on: Mapping[str, Any], dataset: DictConfig) -> None:
    """Refuse a dataset whose labels or joints have another meaning than in training.

    Args:
        trained_on: the plain values from the checkpoint's file, not yet checked.

    Raises:
        UserError: names the difference.
    """
    before, now = trained_on.get("name"), dataset.name
    num_classes, layout = trained_on.get("num_classes"), str(trained_on.get("layout"))
    if num_classes != dataset.num_classes:
        raise UserError(
            f"{now} has {dataset.num_classes} classes, but the checkpoint, which was trained on "
            f"{before}, has {num_classes}."
        )
    classes = trained_on.get("classes")
    known = classes if isinstance(classes, list) else ()
    named = zip(known, dataset.get("classes") or (), strict=False)
    for label, (one, other) in enumerate(named):
        if one != other:
            raise UserError(
                f"label {label} of {now} is {other!r}, but the checkpoint was trained on {before}, "
                f"where it is {one!r}; `dataset.classes=null` compares label numbers only."
            )
    if layout != dataset.layout:
        joints = load_layout(layout).joints, load_layout(dataset.layout).joints
        if joints[0] != joints[1]:
            raise UserError(
                f"{now} has the joints of layout {dataset.layout}, but the checkpoint was trained "
                f"on {before}, with those of {layout}."
            )


def _written_settings(config: Mapping[Any, Any]) -> dict[str, Any]:
    """The settings of stream and pipeline as written in the configuration, by `group.key`."""
    nodes = {group: config.get(group) for group in GROUPS}
    return {
        f"{group}.{key}": value
        for group, node in nodes.items()
        if isinstance(node, Mapping)
        for key, value in node.items()
    }
