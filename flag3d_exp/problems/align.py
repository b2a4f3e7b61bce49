"""Classify by sentences about the classes, seen or unseen, by comparing features with text vectors.

Sizes: n recordings, N clips in a batch, K classes, F features, W numbers of a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.unseen import unseen_classes
from flag3d_exp.problems.classify import drawn_chance, score_metrics
from flag3d_exp.problems.problem import Arrays
from flag3d_exp.results.metrics import average_clips
from flag3d_exp.results.zero_shot import HARMONIC, METRICS, zero_shot_metrics
from flag3d_exp.texts.descriptions import Description, class_descriptions
from flag3d_exp.texts.vectors import description_vectors, digest, fingerprint

if TYPE_CHECKING:
    from mindspore import nn

# Chosen on 15 classes of demo60 that are in no named choice of unseen classes.
SOFTNESS, GATE = 4.0, -15.0


@dataclass(frozen=True)
class Align:
    """Settings of `problem=align`.

    Args:
        classes: names of the labels, which are the keys of the sentences.
        unseen: names of the classes that are excluded from training, see `dataset.unseen`.
        texts: `auto` for the shipped text file that describes the classes, the name of a shipped
            file, or the path of a user's file, see `texts.descriptions`.
        parts: use the mean vector of all sentences of a class, including those on parts of the
            body, instead of only that on the whole movement.
        scale: initial value of the learned factor on cosines; at most 100.
        softness: with which trained classes are combined to recognise the others, see `TextHead`.
        gate: added to the logits of classes that are not trained, which balances them with the
            trained ones (calibrated stacking, Chao et al., ECCV 2016); see `task=calibrate`.
        num_anchors: number of trained classes, if none of `classes` was trained; None: all of
            `classes` that are not `unseen`.
        objective: metric that decides which epoch is best, unless `task.objective` is set.
        temperature: divides logits before the softmax, except in training; see `task=calibrate`.
    """

    classes: list[str] | None
    unseen: list[str] | str | None = None
    texts: str = "auto"
    parts: bool = True
    scale: Annotated[float, ">= 1, <= 100"] = 14.0
    softness: Annotated[float, "> 0"] = SOFTNESS
    gate: Annotated[float, ">= -100, <= 100"] = GATE
    num_anchors: Annotated[int, ">= 2"] | None = None
    objective: Literal["top1", "top5", "loss"] = "top1"
    temperature: Annotated[float, "> 0"] = 1.0

    metric_names = ("top1", "top5", "loss", *METRICS, HARMONIC)
    classifies = True
    mixes_labels = False  # a mixed clip would have two texts

    def __post_init__(self) -> None:
        bounds.check(self, "problem")

    @cached_property
    def descriptions(self) -> tuple[Description, ...]:
        """The description of each class in the text file.

        Raises:
            UserError: see `class_descriptions`.
        """
        return class_descriptions(self.texts, self.classes)

    @cached_property
    def vectors(self) -> np.ndarray:
        """(K, W) unit vectors.

        Raises:
            UserError: see `description_vectors`.
        """
        return description_vectors(self.descriptions, self.parts)

    @property
    def trained(self) -> np.ndarray:
        """Which classes are trained, (K,) bool."""
        names = list(self.classes or ())
        if self.num_anchors is not None:
            return np.zeros(len(names), bool)
        return ~np.isin(names, unseen_classes(self.unseen))

    @property
    def provenance(self) -> dict[str, Any]:
        """The encoder and the digest of the sentences, for checkpoints."""
        return {"encoder": fingerprint(), "sentences": digest(self.descriptions)}

    def network(self, backbone: "nn.Cell") -> "nn.Cell":
        """keypoints (N, M, T, V, C), dropout mask (N, F) or None -> logits (N, K)."""
        from flag3d_exp.models.classifier import Classifier
        from flag3d_exp.models.text_head import TextHead

        head = TextHead(
            backbone.features,
            self.vectors,
            self.scale,
            self.trained,
            self.num_anchors,
            self.softness,
            self.gate,
        )
        return Classifier(backbone, len(self.vectors), backbone.dropout, head)

    def criterion(self, targets: Arrays) -> "nn.Cell":
        """The contrastive loss of clips and texts, in both directions."""
        from flag3d_exp.problems.text_contrast import TextContrast

        return TextContrast()

    def chance(self, network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
        """The same as in `Classify`."""
        return drawn_chance(network, shape, rng)

    def batch(self, clips: np.ndarray, targets: Arrays, chance: Arrays) -> tuple[Arrays, Arrays]:
        """Keypoints and the drawn arrays; labels (N,)."""
        return {"keypoints": clips, **chance}, {"label": targets["label"].astype(np.int32)}

    def test_inputs(self, clips: np.ndarray, targets: Arrays) -> Arrays:
        """Keypoints."""
        return {"keypoints": clips}

    def predictions(self, outputs: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """Scores (n, K): mean softmax over clips."""
        return average_clips(outputs / self.temperature)

    def metrics(self, predictions: np.ndarray, targets: Arrays) -> dict[str, float]:
        """The metrics of classification, and `zero_shot_metrics` for unseen classes."""
        labels = targets["label"]
        found = score_metrics(predictions, labels)
        unseen = np.flatnonzero(~self.trained)
        if self.trained.any() and len(unseen) and np.isin(labels, unseen).all():
            found |= zero_shot_metrics(predictions, labels, unseen, self.vectors)
        return found

    def arrays_to_save(self, predictions: np.ndarray, targets: Arrays) -> Arrays:
        """labels (n,), scores (n, K)."""
        return {"labels": targets["label"], "scores": predictions}
