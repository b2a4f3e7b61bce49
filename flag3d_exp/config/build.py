"""From configuration to objects: datasets, model, optimizer, device; shared by the tasks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from flag3d_exp.config import checks
from flag3d_exp.devices.device import Device, description
from flag3d_exp.errors import UserError, nearest

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.data.dataset import ClipDataset


def device(cfg: DictConfig) -> tuple[Device, str]:
    """The device settings and the name of the device, now selected; chance seeded."""
    settings: Device = instantiated(cfg.device)
    name = settings.activate()
    import mindspore as ms

    ms.set_seed(cfg.seed)
    return settings, name


def with_model(name: str) -> DictConfig:
    """This run's configuration with another choice of `model`, one of `task.models`.

    Raises:
        UserError: there is no such choice.
    """
    known = GlobalHydra.instance().config_loader().get_group_options("model", ObjectType.CONFIG)
    if name not in known:
        raise UserError(
            f"`task.models`: `{name}` is not a choice of `model`.{nearest(name, known)} "
            f"Choices: {', '.join(sorted(known))}."
        )
    overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith("model=")]
    return compose("config", [*overrides, f"model={name}"])


def datasets(cfg: DictConfig, splits: list[str] | None = None) -> dict[str, "ClipDataset"]:
    """The dataset's splits (or those named) as clips; `train` is augmented, others are not."""
    from flag3d_exp.data import source

    return source.build(
        instantiated(cfg.dataset),
        instantiated(cfg.pipeline),
        instantiated(cfg.stream),
        cfg.seed,
        splits,
    )


def model(cfg: DictConfig) -> "nn.Cell":
    """The network with its head, initialised from `seed`, in the device's precision.

    Raises:
        UserError: it refused its settings, or is made for other data than it gets.
    """
    checks.check_model(cfg)
    settings: Device = instantiated(cfg.device)
    from flag3d_exp.models.classifier import Classifier

    backbone = instantiated(cfg.model)
    return settings.lowered(Classifier(backbone, cfg.dataset.num_classes, backbone.dropout))


def instantiated(node: DictConfig) -> Any:
    """The object that a node describes, built from plain lists and dictionaries.

    Raises:
        UserError: the object refused its settings.
    """
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if refusal := _user_error(error):
            raise refusal from error
        reason = error.__cause__ or error
        text = " ".join(f"{type(reason).__name__}: {reason}".split())
        made = f"`{node._target_}` can't be made with these settings"
        raise UserError(f"{made} ({text}); the traceback is in run.log.") from error


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as flat `group.key` names and resolved values."""
    flat: dict[str, Any] = {}

    def visit(prefix: str, node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                visit(f"{prefix}.{key}" if prefix else str(key), value)
        else:
            flat[prefix] = node

    visit("", OmegaConf.to_container(cfg, resolve=True))
    return flat


def run_title(cfg: DictConfig) -> str:
    """The default name of a run: `model-stream-dataset-seed`, behind its task unless it trains.

    What tells runs apart stands first, because lists of runs cut names off.
    """
    task = class_name(cfg.task).lower()
    title = f"{class_name(cfg.model)}-{cfg.stream.name}-{cfg.dataset.name}-{cfg.seed}"
    return title if task == "train" else f"{task}-{title}"


def class_name(node: DictConfig) -> str:
    """The class of a configured object, without its module."""
    return str(node._target_).rpartition(".")[2]


def num_parameters(model: "nn.Cell") -> int:
    """How many numbers training adjusts."""
    return sum(p.size for p in model.trainable_params())


def header(
    cfg: DictConfig, device_name: str, model: "nn.Cell", datasets: Mapping[str, "ClipDataset"]
) -> str:
    """One line that says what runs where on what."""
    counts = ", ".join(f"{split} {len(data)}" for split, data in datasets.items())
    return (
        f"{class_name(cfg.model)} ({num_parameters(model):,} parameters), "
        f"{cfg.stream.name} stream, on {cfg.dataset.name} ({counts}), {description(device_name)}"
    )


def _user_error(error: BaseException | None) -> UserError | None:
    """The UserError beneath Hydra's wrapping of a constructor's exception."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error
