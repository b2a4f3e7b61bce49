"""Classify recordings: pooled features, one dense layer, cross entropy.

Sizes: n recordings, N clips in a batch, K classes, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.problems.problem import Arrays, backbone_chance
from flag3d_exp.results.metrics import average_clips, log_losses, top_k_accuracy

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.texts.descriptions import Description


@dataclass(frozen=True)
class Classify:
    """Settings of `problem=classify`.

    Args:
        num_classes: labels are 0 to num_classes - 1.
        label_smoothing: share of each target spread over all classes.
        class_weights: `balanced` weights each class by the inverse of its share of `train`.
        objective: metric that decides which epoch is best, unless `task.objective` is set.
        temperature: divides logits before the softmax, except in training; see `task=calibrate`.
        text_weight: weight of a further training loss, the contrast of features with sentences
            about the classes, see `problems.text_teacher`; 0 for none.
        texts: where the sentences are, as in `problem=align`.
        classes: names of the labels; sentences are looked up by them.
        layout: of the joints; tells which joints a sentence on a part of the body is about.
    """

    num_classes: Annotated[int, ">= 1"]
    label_smoothing: Annotated[float, ">= 0, < 1"] = 0.0
    class_weights: Literal["balanced"] | None = None
    objective: Literal["top1", "top5", "loss"] = "top1"
    temperature: Annotated[float, "> 0"] = 1.0
    text_weight: Annotated[float, ">= 0"] = 0.0
    texts: str = "auto"
    classes: list[str] | None = None
    layout: str | None = None

    metric_names = ("top1", "top5", "loss")
    classifies = True

    def __post_init__(self) -> None:
        bounds.check(self, "problem")

    def network(self, backbone: "nn.Cell") -> "nn.Cell":
        """keypoints (N, M, T, V, C), dropout mask (N, F) or None -> logits (N, K)."""
        from flag3d_exp.models.classifier import Classifier

        teacher = self._teacher(backbone) if self.text_weight else None
        return Classifier(backbone, self.num_classes, backbone.dropout, teacher=teacher)

    @property
    def mixes_labels(self) -> bool:
        """Whether a clip may have two labels; it cannot be compared with two sentences."""
        return not self.text_weight

    @property
    def provenance(self) -> dict[str, Any] | None:
        """The encoder and the digest of the sentences; None without texts."""
        if not self.text_weight:
            return None
        from flag3d_exp.texts.vectors import digest, fingerprint

        return {"encoder": fingerprint(), "sentences": digest(self.descriptions)}

    @cached_property
    def descriptions(self) -> "tuple[Description, ...]":
        """The sentences on each class.

        Raises:
            UserError: see `class_descriptions`.
        """
        from flag3d_exp.texts.descriptions import class_descriptions

        return class_descriptions(self.texts, self.classes)

    def _teacher(self, backbone: "nn.Cell") -> "nn.Cell":
        """The text loss. It has heads for parts of the body if the features are of joints."""
        from flag3d_exp.models.graph import GraphNetwork
        from flag3d_exp.problems.text_teacher import TextTeacher, taught_parts
        from flag3d_exp.skeletons.layout import load_layout

        layout = None
        if self.layout is not None and isinstance(backbone, GraphNetwork):
            layout = load_layout(self.layout)
        vectors, joints = taught_parts(self.descriptions, layout)
        return TextTeacher(backbone.features, vectors, joints, self.text_weight)

    def criterion(self, targets: Arrays) -> "nn.Cell":
        """Cross entropy of logits (N, K) and labels (N,); also counts correct predictions."""
        from flag3d_exp.problems.cross_entropy import CrossEntropy

        weights = None
        if self.class_weights == "balanced":
            weights = balanced_weights(targets["label"], self.num_classes)
        return CrossEntropy(self.label_smoothing, weights)

    def chance(self, network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
        """`dropout_mask` (N, F), then the backbone's random arrays, if there are any."""
        return drawn_chance(network, shape, rng)

    def batch(self, clips: np.ndarray, targets: Arrays, chance: Arrays) -> tuple[Arrays, Arrays]:
        """Keypoints and the drawn arrays; labels (N,), and the second labels of mixed clips."""
        known: Arrays = {"label": targets["label"].astype(np.int32)}
        if "share" in targets:
            known["other_label"] = targets["other_label"].astype(np.int32)
            known["share"] = targets["share"].astype(np.float32)
        return {"keypoints": clips, **chance}, known

    def test_inputs(self, clips: np.ndarray, targets: Arrays) -> Arrays:
        """Keypoints."""
        return {"keypoints": clips}

    def predictions(self, outputs: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """Scores (n, K): mean softmax over clips."""
        return average_clips(outputs / self.temperature if self.temperature != 1 else outputs)

    def metrics(self, predictions: np.ndarray, targets: Arrays) -> dict[str, float]:
        """Top-1 and top-5 in percent, and the mean negative log-likelihood."""
        return score_metrics(predictions, targets["label"])

    def arrays_to_save(self, predictions: np.ndarray, targets: Arrays) -> Arrays:
        """labels (n,), scores (n, K)."""
        return {"labels": targets["label"], "scores": predictions}


def drawn_chance(network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
    """The same as `Classify.chance`, for any `models.classifier.Classifier`."""
    size = (shape[0], network.num_features)
    mask = dropout_mask(size, network.dropout, rng)
    drawn = backbone_chance(network, shape, rng)
    if mask is None and not drawn:
        return {}
    return {"dropout_mask": np.ones(size, np.float32) if mask is None else mask, **drawn}


def score_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Top-1 and top-5 in percent, and the mean negative log-likelihood, of scores (n, K)."""
    return {
        "top1": 100 * top_k_accuracy(scores, labels, 1),
        "top5": 100 * top_k_accuracy(scores, labels, 5),
        "loss": float(log_losses(scores, labels).mean()),
    }


def dropout_mask(
    shape: tuple[int, int], probability: float, rng: np.random.Generator
) -> np.ndarray | None:
    """(N, F) multipliers: 0 with `probability`, else 1 / (1 - probability); None without dropout.

    Drawn on the host because MindSpore cannot restore a compiled step's own random state.
    """
    if probability == 0:
        return None
    keep = rng.random(shape, dtype=np.float32) >= probability
    return keep.astype(np.float32) / np.float32(1 - probability)


def balanced_weights(labels: np.ndarray, num_classes: int) -> tuple[float, ...]:
    """Inverse share of each class, scaled to a mean of 1 over recordings; 0 for absent classes."""
    counts = np.bincount(labels, minlength=num_classes)
    present = np.maximum(counts, 1)
    return tuple((len(labels) / (np.count_nonzero(counts) * present) * (counts > 0)).tolist())
