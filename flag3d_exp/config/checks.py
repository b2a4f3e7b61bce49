"""Checks of a composed configuration, before MindSpore or another slow module is imported.

Every value is checked against the signature of the object that its group names in `_target_` (see
`signature`). Objects that are made quickly are made, so that they check how their settings fit each
other.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flag3d_exp.config.signature import arguments, description, expectation, spelling
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.reading.moved_settings import moved_to
from flag3d_exp.reading.settings import leaves

TARGET = "_target_"
PACKAGE = Path(__file__).resolve().parent.parent


def conf_folder(package: Path) -> Path:
    """The folder `conf`: within an installed package, next to the package in a checkout.

    An installed package is searched inside only: a `conf` next to it may belong to another package.
    """
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


CONF = conf_folder(PACKAGE)
LIGHT = ("dataset", "pipeline", "augment", "stream", "scheduler", "device", "tracking")  # quick
MADE = (*LIGHT, "model", "task")  # what `check_by_making` looks at
TRAINING = "flag3d_exp.tasks.train.Train"  # other tasks may take missing values from a checkpoint
# Settings that copy a fact of the dataset, and the setting that they copy.
SAME = {
    "pipeline.layout": "dataset.layout",
    "pipeline.num_persons": "dataset.num_persons",
    "pipeline.score_channel": "dataset.score_channel",
    "model.num_channels": "dataset.num_channels",
    "model.num_persons": "pipeline.num_persons",
    "model.joint_channels": "pipeline.joint_channels",
    "model.time_channel": "pipeline.time_channel",
    "model.clip_len": "pipeline.clip_len",
    "model.train_size": "pipeline.train_size",
    "model.test_size": "pipeline.test_size",
}
FURTHER_CHANNELS = ("joint_channels", "time_channel")  # settings of a pipeline and of some models
HEATMAP_CHANNELS = 3  # x, y and score of a joint, whatever the dataset has


def check(cfg: DictConfig) -> None:
    """Check every group of a composed configuration against the signature of its `_target_`.

    Raises:
        UserError: names the key, its value and what is accepted.
    """
    known = top_level()
    for key in cfg:
        if str(key) not in known:
            hint = nearest(str(key), known) or f" Settings: {', '.join(sorted(known))}."
            raise UserError(f"`{key}` is not a setting.{hint}")
    check_fold(cfg)
    for key in cfg:
        node = None if OmegaConf.is_missing(cfg, key) else cfg[key]
        if OmegaConf.is_config(node):
            if not isinstance(node, DictConfig) or not (
                "_target_" in node or _is_group_of_objects(node)
            ):
                raise UserError(
                    f"`{key}`: its file must name its object in `_target_`, or begin with "
                    "`# @package _global_` if it sets other groups."
                )
            check_node(str(key), cfg)
    check_seed(cfg)


def check_fold(cfg: DictConfig) -> None:
    """Refuse a value that is not a fold, and a fold that is not passed to the dataset.

    Raises:
        UserError: names the accepted values, or the line that the dataset's file lacks.
    """
    fold = cfg.get("fold")
    if fold is not None and (type(fold) is not int or fold < 0):
        raise UserError(f"`fold` must be an integer of at least 0 or null; got {fold!r}.")
    if fold is not None and OmegaConf.select(cfg, "dataset.fold") != fold:
        raise UserError(
            f"`fold={fold}` is not passed to this dataset: its file must have the line "
            "`fold: ${fold}`."
        )


def check_seed(cfg: DictConfig) -> None:
    """Refuse a seed that NumPy and MindSpore do not accept.

    Raises:
        UserError: names the accepted seeds.
    """
    if type(cfg.seed) is not int or not 0 <= cfg.seed < 2**32:
        raise UserError(f"`seed` must be an integer from 0 to {2**32 - 1}; got {cfg.seed!r}.")


def check_by_making(cfg: DictConfig) -> None:
    """Make the objects that are made quickly, so that they check how their settings fit together.

    Raises:
        UserError: an object refused them.
    """
    made = {}
    for group in LIGHT:
        if _is_own(OmegaConf.select(cfg, group)):
            try:
                made[group] = instantiate(cfg[group], _convert_="all")
            except InstantiationException as error:
                if isinstance(error.__cause__, UserError):
                    raise error.__cause__ from error
    if cfg.task._target_ == TRAINING and {"dataset", "pipeline", "stream"} <= made.keys():
        from flag3d_exp.data.augment.recipe import recipe

        augment = recipe(made.get("augment", {}))
        made["dataset"].check_with(made["pipeline"], made["stream"], augment)
        check_model(cfg)


def _is_own(node: DictConfig | None) -> bool:
    """Whether all objects that a group describes are from this package."""
    if node is None:
        return False
    nodes = [node] if "_target_" in node else [node[key] for key in node]
    targets = [str(one._target_) for one in nodes if isinstance(one, DictConfig)]
    return bool(targets) and all(target.startswith("flag3d_exp.") for target in targets)


def check_model(cfg: DictConfig) -> None:
    """Refuse a pipeline or a network whose settings do not fit the data that it gets.

    Raises:
        UserError: names the settings that differ.
    """
    for key, source in SAME.items():
        value, expected = OmegaConf.select(cfg, key), OmegaConf.select(cfg, source)
        if value is not None and expected is not None and value != expected:
            raise UserError(f"`{key}={value}`, but `{source}` is {expected}; leave `{key}` out.")
    for key in FURTHER_CHANNELS:
        if cfg.pipeline.get(key) and key not in cfg.model and key not in cfg.problem:
            raise UserError(
                f"`pipeline.{key}=true` is for models that read these channels; this model does "
                "not. Leave `pipeline` out: the model chooses it."
            )
    heatmaps = "train_size" in cfg.pipeline
    if "train_size" in cfg.model and not heatmaps:
        raise UserError("The model draws heatmaps; take `pipeline=heatmap` with it.")
    if heatmaps and cfg.model.get("num_channels", HEATMAP_CHANNELS) != HEATMAP_CHANNELS:
        raise UserError(
            f"`pipeline=heatmap` gives {HEATMAP_CHANNELS} channels, but `model.num_channels` is "
            f"{cfg.model.num_channels}; take a model that draws heatmaps, or `pipeline=graph`."
        )
    check_layouts(cfg)


def check_layouts(cfg: DictConfig) -> None:
    """Refuse a network whose layout has another number of joints than the dataset's.

    Raises:
        UserError: names both layouts.
    """
    from flag3d_exp.skeletons.layout import load_layout

    if "layout" in cfg.model and cfg.model.layout != cfg.dataset.layout:
        in_data = load_layout(cfg.dataset.layout, "dataset.layout").num_joints
        in_model = load_layout(cfg.model.layout, "model.layout").num_joints
        if in_model != in_data:
            raise UserError(
                f"`model.layout={cfg.model.layout}` has {in_model} joints, `dataset.layout="
                f"{cfg.dataset.layout}` has {in_data}; leave `model.layout` out."
            )


def check_node(key: str, cfg: DictConfig) -> None:
    """Check the settings below a key against the signature of its `_target_`, if it names one.

    Raises:
        UserError: names the key, its value and what is accepted.
    """
    node = OmegaConf.select(cfg, key)
    target = node.get("_target_")
    if target is None:
        for name in node:
            if isinstance(node[name], DictConfig):
                check_node(f"{key}.{name}", cfg)
        return
    try:
        known = arguments(target)
    except LookupError as error:
        raise UserError(f"`{key}._target_` does not exist: {error}.") from error
    if known is None:
        return
    partial = bool(node.get("_partial_"))
    if partial:  # arguments that the program itself passes are not settings
        known = {name: a for name, a in known.items() if name in node or not a.required}
    values = {}
    for name in node:
        if name in ("_target_", "_partial_"):
            continue
        path = f"{key}.{name}"
        if name not in known:
            if moved := moved_to(path):
                raise UserError(moved)
            hint = nearest_setting(path, known)
            raise UserError(f"`{path}` is not a setting.{hint} Settings here: {', '.join(known)}.")
        annotation = known[name].annotation
        if OmegaConf.is_missing(node, name):
            kind = f" ({description(annotation)})" if annotation is not None else ""
            raise UserError(f"`{path}` must be given{kind}: `{path}=...`.")
        values[str(name)] = value = _resolved_value(cfg, path)
        if isinstance(value, dict) and TARGET not in value:
            for within, leaf in leaves(path, value):
                if leaf == "???":
                    raise UserError(f"`{within}` must be given: `{within}=...`.")
    for name, value in values.items():
        path, annotation = f"{key}.{name}", known[name].annotation
        if annotation is not None and (wanted := expectation(annotation, value, values)):
            listed = wanted.startswith("a list") and not isinstance(value, (list, dict))
            hint = f" (a list of one is `{path}=[{value}]`)" if listed and value is not None else ""
            raise UserError(f"`{path}` must be {wanted}; got {spelling(value)}{hint}.")
        if isinstance(value, dict) and "_target_" in value:
            check_node(path, cfg)
    for name, argument in known.items():
        if argument.required and name not in node:
            raise UserError(f"`{key}.{name}` must be given: `{key}.{name}=...`.")


def _is_group_of_objects(node: DictConfig) -> bool:
    """Whether each setting is an object or null (an object left out), as in `augment`."""
    values = [None if OmegaConf.is_missing(node, key) else node[key] for key in node]
    return bool(values) and all(
        value is None or isinstance(value, DictConfig) and "_target_" in value for value in values
    )


def _resolved_value(cfg: DictConfig, path: str) -> Any:
    try:
        value = OmegaConf.select(cfg, path, throw_on_missing=True)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        raise UserError(f"`{path}` cannot be resolved: {one_line(error)}.") from error


@cache
def top_level() -> frozenset[str]:
    """Every group and every plain key of config.yaml."""
    loaded = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(loaded, DictConfig)
    plain = {str(key) for key in loaded if key not in ("defaults", "hydra")}
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()}
    return frozenset(plain | groups | {"hydra"})


def nearest_setting(path: str, known: Iterable[str]) -> str:
    """As `nearest`, for the last name of a dotted path; the part before it is not compared."""
    parent, _, name = path.rpartition(".")
    return nearest(path, [f"{parent}.{other}" for other in known if nearest(name, [other])])


def one_line(error: Exception) -> str:
    """The error's text in one line, with its cause's text if the error does not contain it."""
    text, cause = str(error), str(error.__cause__ or "")
    text += f" ({cause})" if cause not in text else ""
    return " ".join(text.split()).rstrip(".")
