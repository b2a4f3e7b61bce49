"""The interface of problems, which `conf/problem/*.yaml` configures.

Sizes: n recordings of a split, N clips in a batch.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from flag3d_exp.errors import UserError

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.data.dataset import ClipDataset

Arrays = dict[str, np.ndarray]


class Problem(Protocol):
    """Connects a backbone, which returns features, with the engine, which handles named arrays."""

    @property
    def objective(self) -> str:
        """The metric that decides which epoch is best, unless `task.objective` is set."""
        ...

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of the metrics that `metrics` returns."""
        ...

    @property
    def classifies(self) -> bool:
        """Whether predictions are class scores (n, K), which confusion matrices need."""
        ...

    def network(self, backbone: "nn.Cell") -> "nn.Cell":
        """The backbone with this problem's head."""
        ...

    def criterion(self, targets: Arrays) -> "nn.Cell":
        """The loss: `(outputs, *targets) -> (loss, counts)`, see `engine.step.Criterion`.

        Args:
            targets: of the whole train split, each (n, ...).
        """
        ...

    def chance(self, network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
        """Random arrays for a batch of clips of `shape` (N, M, T, V, C), such as a dropout mask.

        `rng` is seeded by the step, so that a resumed run makes the same updates.
        """
        ...

    def batch(self, clips: np.ndarray, targets: Arrays, chance: Arrays) -> tuple[Arrays, Arrays]:
        """The inputs of the network and of the loss for a training batch, in argument order.

        Args:
            clips: (N, M, T, V, C).
            targets: of the clips' recordings, each (N, ...).
            chance: the arrays from `chance` for the batch.
        """
        ...

    def test_inputs(self, clips: np.ndarray, targets: Arrays) -> Arrays:
        """The inputs of the network for clips (N, M, T, V, C) in an evaluation, in argument order.

        Random arrays for a clip do not depend on the other clips of the batch.

        Args:
            targets: of the clips' recordings, each (N, ...); {} where they are unknown.
        """
        ...

    def predictions(self, outputs: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """Predictions (n, ...) from the outputs of each recording's clips.

        Args:
            outputs: (n, num_clips, ...).
            clips: (n, num_clips, M, T, V, C).
        """
        ...

    def metrics(self, predictions: np.ndarray, targets: Arrays) -> dict[str, float]:
        """The metrics of a whole split."""
        ...

    def arrays_to_save(self, predictions: np.ndarray, targets: Arrays) -> Arrays:
        """The arrays to store in `predictions/<split>.npz` together with the recordings' names."""
        ...


def backbone_chance(network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
    """Random arrays of a network's backbone for training; {} if the backbone needs none.

    Args:
        shape: of the clips, (N, M, T, V, C).
    """
    backbone: Any = getattr(network, "backbone", None)
    return backbone.chance(shape, rng) if hasattr(backbone, "chance") else {}


def split_metrics(split: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a split by the names that are logged."""
    return {f"{split}/{name}": value for name, value in metrics.items()}


def problem_doubts(problem: Problem, recordings: Sequence[Any]) -> list[str]:
    """Warnings about the recordings of `train`, if the problem checks them."""
    doubts = getattr(problem, "doubts", None)
    return [] if doubts is None else doubts(recordings)


def fit(problem: Problem, network: "nn.Cell", train_split: "ClipDataset") -> None:
    """Let a problem with a method `fit` set statistics of the training clips in its network."""
    own = getattr(problem, "fit", None)
    if own is not None:
        clips = (train_split.clips(index) for index in range(len(train_split)))
        own(network, clips, train_split.recordings)


def check_recordings(problem: Problem, split: str, recordings: Sequence[Any]) -> None:
    """Check the recordings of a split, if the problem has something to check.

    Raises:
        UserError: they lack a field that the problem needs.
    """
    check = getattr(problem, "check_recordings", None)
    if check is not None:
        check(split, recordings)


def provenance(problem: Problem) -> dict[str, Any]:
    """Facts about the problem to store in checkpoints with its settings: `texts`, if it has any."""
    texts = getattr(problem, "provenance", None)
    return {} if texts is None else {"texts": texts}


def check_provenance(problem: Problem, meta: Mapping[str, Any]) -> str | None:
    """A warning if a problem's texts differ from those that a checkpoint was trained with.

    Args:
        meta: metadata of the checkpoint.

    Raises:
        UserError: the text vectors are from another encoder, so they are incompatible.
    """
    trained, now = meta.get("texts"), getattr(problem, "provenance", None)
    if not isinstance(trained, dict) or now is None:
        return None
    if trained.get("encoder") != now["encoder"]:
        raise UserError(
            f"the checkpoint was trained with vectors of {str(trained.get('encoder'))!r}; those of "
            f"this program are of {now['encoder']!r}."
        )
    if trained.get("sentences") != now["sentences"]:
        return "The sentences about the classes are not those of the training."
    return None
