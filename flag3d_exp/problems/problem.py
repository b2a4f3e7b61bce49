"""What a problem must offer; `conf/problem/*.yaml` names one.

Sizes: n recordings of a split, N clips in a batch.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from flag3d_exp.errors import UserError

if TYPE_CHECKING:
    from mindspore import nn

Arrays = dict[str, np.ndarray]


class Problem(Protocol):
    """Between a backbone, which knows features, and the engine, which knows named arrays."""

    @property
    def objective(self) -> str:
        """The metric that decides which epoch is best, unless `task.objective` says."""
        ...

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names of what `metrics` returns."""
        ...

    @property
    def classifies(self) -> bool:
        """Whether predictions are scores of classes (n, K), as confusion matrices need."""
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
        """What is drawn for a batch of clips of `shape` (N, M, T, V, C), such as a dropout mask.

        Drawn from the step's own seed, so that a resumed run makes the same updates.
        """
        ...

    def batch(self, clips: np.ndarray, targets: Arrays, chance: Arrays) -> tuple[Arrays, Arrays]:
        """What the network and the loss take of a training batch, in the order of arguments.

        Args:
            clips: (N, M, T, V, C).
            targets: of the clips' recordings, each (N, ...).
            chance: what `chance` drew for the batch.
        """
        ...

    def test_inputs(self, clips: np.ndarray) -> Arrays:
        """What the network takes of clips (N, M, T, V, C) in an evaluation, in order.

        What is drawn for a clip does not depend on the others of its batch.
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

    def saved(self, predictions: np.ndarray, targets: Arrays) -> Arrays:
        """What `predictions/<split>.npz` holds besides the recordings' names."""
        ...


def backbone_chance(network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
    """What the backbone of a network with a head draws in training; {} for one without chance.

    Args:
        shape: of the clips, (N, M, T, V, C).
    """
    backbone: Any = getattr(network, "backbone", None)
    return backbone.chance(shape, rng) if hasattr(backbone, "chance") else {}


def split_metrics(split: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a split under the names that runs log."""
    return {f"{split}/{name}": value for name, value in metrics.items()}


def problem_doubts(problem: Problem, recordings: Sequence[Any]) -> list[str]:
    """What may be wrong with the train split's recordings for a problem that looks at them."""
    doubts = getattr(problem, "doubts", None)
    return [] if doubts is None else doubts(recordings)


def provenance(problem: Problem) -> dict[str, Any]:
    """What a checkpoint keeps of the problem besides its settings: `texts`, where it has some."""
    texts = getattr(problem, "provenance", None)
    return {} if texts is None else {"texts": texts}


def check_provenance(problem: Problem, meta: Mapping[str, Any]) -> str | None:
    """A warning where a problem's texts are not those that a checkpoint was trained with.

    Args:
        meta: the checkpoint's.

    Raises:
        UserError: the text vectors are of another encoder, so that nothing fits.
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
