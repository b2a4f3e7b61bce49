"""A composed configuration as a task sees it, and the objects that it describes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from flag3d_exp.config import checks
from flag3d_exp.config.command_line import assignment, select
from flag3d_exp.config.hydra_adapter import config_loader
from flag3d_exp.config.started import command, config_flags
from flag3d_exp.console import browse_line
from flag3d_exp.devices.device import Device, description
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.runs.trial_hooks import TrialHooks

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.data.augment.recipe import Recipe
    from flag3d_exp.data.dataset import ClipDataset
    from flag3d_exp.problems.problem import Problem
    from flag3d_exp.runs.tracking import Tracker

P = TypeVar("P")  # a kind of problem


@dataclass(frozen=True)
class Experiment:
    """The input of a task: the configuration of the run, its folder, and its trial in a sweep.

    Attributes:
        config: the composed configuration.
        folder: the run folder.
        choices: the choice made in each group.
        overrides: of the command line, without the settings of Hydra itself.
        flags: flags of the command line that say where choices are, such as `--config-dir`.
        command: a shell command that starts this run again.
        trial: the run's trial in a sweep; None outside a sweep.
    """

    config: DictConfig
    folder: Path
    choices: Mapping[str, str]
    overrides: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    command: str = ""
    trial: TrialHooks | None = None

    @classmethod
    def from_hydra(cls, config: DictConfig, trial: TrialHooks | None = None) -> "Experiment":
        """The experiment that Hydra has composed in this process."""
        hydra = HydraConfig.get()
        choices = {str(k): str(v) for k, v in hydra.runtime.choices.items() if v}
        return cls(
            config,
            Path(hydra.runtime.output_dir),
            {group: choice for group, choice in choices.items() if not group.startswith("hydra")},
            tuple(hydra.overrides.task),
            tuple(config_flags(hydra)),
            command(hydra),
            trial,
        )

    @property
    def seed(self) -> int:
        """The seed of initialisation, data order, augmentation and dropout."""
        return self.config.seed

    @property
    def tracking_uri(self) -> str | None:
        """The MLflow store; None without tracking."""
        return self.config.tracking.uri

    @property
    def dataset_name(self) -> str:
        """The dataset's name in logs and reports."""
        return self.config.dataset.name

    @property
    def splits(self) -> list[str]:
        """The dataset's splits, including `train` and those that `dataset.unseen` makes."""
        from flag3d_exp.data.unseen import evaluated_splits

        dataset = self.config.dataset
        return list(evaluated_splits(dataset.splits, dataset.get("unseen")))

    @property
    def classes(self) -> list[str]:
        """The names of the classes; their numbers if the dataset gives no names."""
        names = self.config.dataset.get("classes")
        return list(names) if names else [str(n) for n in range(self.config.dataset.num_classes)]

    @property
    def model_name(self) -> str:
        """The class of the network."""
        return class_name(self.config.model)

    @property
    def title(self) -> str:
        """The default name of a run, `model-stream-dataset-seed`, with the fold before the seed.

        A task other than `train` comes first. The parts that distinguish runs come first, because
        lists of runs truncate names.
        """
        task = class_name(self.config.task).lower()
        stream, dataset = self.config.stream.name, self.dataset_name
        fold = self.config.get("fold")
        parts = [self.model_name, stream, dataset, *([] if fold is None else [f"fold{fold}"])]
        title = "-".join([*parts, str(self.seed)])
        return title if task == "train" else f"{task}-{title}"

    @property
    def meta(self) -> dict[str, Any]:
        """The configuration and the choice in each group, which a checkpoint stores."""
        return {"config": OmegaConf.to_yaml(self.config), "choices": dict(self.choices)}

    @property
    def parameters(self) -> dict[str, Any]:
        """The configuration as flat `group.key` names and resolved values."""
        flat: dict[str, Any] = {}

        def visit(prefix: str, node: Any) -> None:
            if isinstance(node, dict):
                for key, value in node.items():
                    visit(f"{prefix}.{key}" if prefix else str(key), value)
            else:
                flat[prefix] = node

        visit("", OmegaConf.to_container(self.config, resolve=True))
        return flat

    def with_model(self, name: str) -> "Experiment":
        """This experiment with another choice of `model`, one of `task.models`.

        Raises:
            UserError: there is no such choice.
        """
        known = config_loader().get_group_options("model", ObjectType.CONFIG)
        if name not in known:
            raise UserError(
                f"`task.models`: `{name}` is not a choice of `model`.{nearest(name, known)} "
                f"Choices: {', '.join(sorted(known))}."
            )
        overrides = select(self.overrides, lambda key: key != "model")
        config = compose("config", [*overrides, assignment("model", name)])
        return replace(self, config=config)

    def build(self, group: str) -> Any:
        """The object that a group of the configuration describes.

        Raises:
            UserError: the object refused its settings.
        """
        return built_object(self.config[group])

    def problem(self) -> "Problem":
        """What is learned."""
        return self.build("problem")

    def classification(self, task: str) -> "Problem":
        """What is learned, for a task that needs classes.

        Raises:
            UserError: the problem is not classification.
        """
        problem = self.problem()
        if not problem.classifies:
            chosen = self.choices.get("problem", class_name(self.config.problem))
            raise UserError(
                f"`task={task}` needs a network that classifies; this one was trained "
                f"with `problem={chosen}`."
            )
        return problem

    def problem_of(self, kind: type[P], choice: str) -> P:
        """What is learned, for the task of the same name as a problem: `generate` or `lift`.

        Raises:
            UserError: the network was trained with another problem.
        """
        problem = self.problem()
        if not isinstance(problem, kind):
            chosen = self.choices.get("problem", class_name(self.config.problem))
            raise UserError(
                f"`task={choice}` needs a network that was trained with `problem={choice}`; this "
                f"one was trained with `problem={chosen}`."
            )
        return problem

    def device(self) -> tuple[Device, str]:
        """Select the device and seed MindSpore; the device's settings and name."""
        settings: Device = self.build("device")
        name = settings.activate()
        import mindspore as ms

        ms.set_seed(self.seed)
        return settings, name

    def datasets(self, splits: list[str] | None = None) -> dict[str, "ClipDataset"]:
        """The dataset's splits (or those named) as clips; only `train` is augmented."""
        from flag3d_exp.data import source

        return source.build(
            self.build("dataset"),
            self.build("pipeline"),
            self.build("stream"),
            self.seed,
            splits,
            self.augment(),
        )

    def augment(self) -> "Recipe":
        """The random changes of training clips."""
        from flag3d_exp.data.augment.recipe import recipe

        return recipe(self.build("augment"))

    def model(self) -> "nn.Cell":
        """The backbone with the problem's head, initialised from `seed`, in the device's precision.

        Raises:
            UserError: the model refused its settings, or they do not fit the data.
        """
        checks.check_model(self.config)
        settings: Device = self.build("device")
        return settings.lowered_model(self.problem().network(self.build("model")))

    def header(
        self, device_name: str, model: "nn.Cell", datasets: Mapping[str, "ClipDataset"]
    ) -> str:
        """One line with the network, the stream, the dataset and the device."""
        counts = ", ".join(f"{split} {len(data)}" for split, data in datasets.items())
        tf32 = self.config.device.tf32
        return (
            f"{self.model_name} ({num_parameters(model):,} parameters), {self.config.stream.name} "
            f"stream, on {self.dataset_name} ({counts}), {description(device_name, tf32)}"
        )

    def places(self, tracker: "Tracker") -> list[str]:
        """Lines that say where the run folder is and how to browse the MLflow run."""
        lines = [f"run folder: {self.folder}"]
        if tracker.page is not None and self.tracking_uri is not None:
            lines.append(browse_line(self.tracking_uri, tracker.page))
        return lines

    @contextmanager
    def track(
        self, device_name: str, datasets: Mapping[str, "ClipDataset"] | None = None
    ) -> Iterator["Tracker"]:
        """Keep an MLflow run open during the block; end it as FINISHED, FAILED or KILLED."""
        from flag3d_exp.runs import record
        from flag3d_exp.runs.generated import note_generated

        tags = {
            "model": self.model_name,
            "dataset": self.dataset_name,
            "stream": self.config.stream.name,
            "device": device_name,
            "command": self.command,
        }
        with record.tracked_run(
            self.build("tracking"), self.folder, self.title, tags, self.parameters, self.trial
        ) as tracker:
            for split, data in (datasets or {}).items():
                path = str(self.config.dataset.path)
                tracker.log_dataset(path, self.dataset_name, data.digest, split)
            note_generated(self.folder, datasets or {}, tracker)
            yield tracker


def built_object(node: DictConfig) -> Any:
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
        named = [str(one.get("_target_")) for one in (node, *children(node)) if "_target_" in one]
        made = f"`{' or '.join(named)}` can't be made with these settings"
        raise UserError(f"{made} ({text}); the traceback is in run.log.") from error


def children(node: DictConfig) -> list[DictConfig]:
    """The settings within a node that are themselves objects or groups."""
    return [value for value in node.values() if isinstance(value, DictConfig)]


def class_name(node: DictConfig) -> str:
    """The class of a configured object, without its module."""
    return str(node._target_).rpartition(".")[2]


def num_parameters(model: "nn.Cell") -> int:
    """The number of trainable parameters."""
    return sum(p.size for p in model.trainable_params())


def _user_error(error: BaseException | None) -> UserError | None:
    """The `UserError` inside Hydra's wrapper of a constructor's exception."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error
