"""Motion from a class or a sentence: networks that generate clips of 3D keypoints.

A clip is the whole recording, resampled to `clip_len` frames, as the features of
`skeletons.motion`. Features are standardised by statistics of the training split, which are part of
the network. A condition is a class or a sentence about it; in training some clips have none, so
that sampling can be guided (Ho and Salimans, arXiv 2207.12598).

Sizes: n recordings, N clips in a batch, M persons, T frames, V joints, C channels, D features, K
classes, W numbers of a condition.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data import upright
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.camera import UPWARD
from flag3d_exp.data.roots import root_weights
from flag3d_exp.errors import UserError
from flag3d_exp.problems.generation_loss import TERMS
from flag3d_exp.problems.problem import Arrays
from flag3d_exp.skeletons.layout import Layout, load_layout
from flag3d_exp.skeletons.moments import Moments
from flag3d_exp.skeletons.motion import (
    Motion,
    around_mean,
    joints_of,
    motion,
    num_features,
    returned_joints,
)
from flag3d_exp.texts.descriptions import Description, class_descriptions
from flag3d_exp.texts.vectors import description_vectors, digest, fingerprint

if TYPE_CHECKING:
    from mindspore import nn

AT_ONCE = 64  # recordings whose statistics are added in one step
NONE = "none"  # value of `texts` for a network that takes classes only


@dataclass(frozen=True)
class Generate:
    """Settings of `problem=generate`.

    Args:
        layout, num_persons, num_channels, score_channel, clip_len: of the clips, as in `dataset`.
        num_classes, classes: of the dataset; sentences are looked up by the names.
        stream: name of the clips' stream, which must be `joint`.
        up: the upward axis of the recordings.
        texts: where the sentences about the classes are, as in `problem=align`; `none` for a
            network that takes classes only.
        text_noise: standard deviation of noise on each number of a sentence's vector in training.
        dropped: share of the training clips without a condition.
        guidance: factor on the effect of the condition in sampling; 1 for none.
        motion_weight: weight of the error of changes from frame to frame.
        bone_weight: weight of the error of bone lengths.
        part: range of the share of a recording that a training clip shows, as in `augment.frames`;
            generated recordings are as long as such parts.
        objective: metric that decides which epoch is best, unless `task.objective` is set.
    """

    layout: str
    num_classes: Annotated[int, ">= 1"]
    classes: list[str] | None = None
    num_channels: int = 3
    num_persons: Annotated[int, ">= 1"] = 1
    score_channel: bool = False
    clip_len: Annotated[int, ">= 2, <= 100000"] = 48
    stream: str = "joint"
    up: Literal["x", "y", "z"] = "z"
    texts: str = "auto"
    text_noise: Annotated[float, ">= 0"] = 0.01
    dropped: Annotated[float, ">= 0, < 1"] = 0.1
    guidance: Annotated[float, ">= 0, <= 100"] = 1.0
    motion_weight: Annotated[float, ">= 0"] = 1.0
    bone_weight: Annotated[float, ">= 0"] = 1.0
    part: tuple[float, float] = (1.0, 1.0)
    objective: Literal["loss", "position_loss"] = "loss"

    metric_names = ("loss", *TERMS)
    classifies = False

    def __post_init__(self) -> None:
        bounds.check(self, "problem")
        bounds.check_rising("problem.part", self.part, 0, 1)
        if self.num_channels - self.score_channel != 3:
            raise UserError(
                "`problem=generate` learns from recordings in 3D, `dataset.num_channels=3`; this "
                f"dataset has {self.num_channels - self.score_channel} coordinates. `task=lift` "
                "makes 3D recordings of them."
            )
        if self.num_persons != 1:
            raise UserError(
                "`problem=generate` is for one person, `dataset.num_persons=1`; got "
                f"{self.num_persons}."
            )
        if self.stream != "joint":
            raise UserError(f"`problem=generate` needs `stream=joint`; got {self.stream}.")

    @cached_property
    def skeleton(self) -> Layout:
        """The layout of the joints."""
        return load_layout(self.layout)

    @cached_property
    def root(self) -> np.ndarray:
        """(V,) weights of the joints whose mean is the root.

        Raises:
            UserError: the layout has no root.
        """
        return root_weights(self.skeleton, "problem=generate")

    @property
    def takes_texts(self) -> bool:
        """Whether a condition may be a sentence."""
        return self.texts != NONE

    @cached_property
    def descriptions(self) -> tuple[Description, ...]:
        """The description of each class in the text file.

        Raises:
            UserError: see `class_descriptions`.
        """
        try:
            return class_descriptions(self.texts, self.classes)
        except UserError as error:
            hint = "`problem.texts=none` trains a network that takes classes only."
            raise UserError(f"{error} {hint}") from error

    @cached_property
    def vectors(self) -> np.ndarray:
        """(2, K, W) unit vectors of the sentences on the whole movement, and of all sentences."""
        return np.stack([description_vectors(self.descriptions, parts) for parts in (False, True)])

    @property
    def provenance(self) -> dict[str, Any] | None:
        """The encoder and the digest of the sentences, for checkpoints; None without texts."""
        if not self.takes_texts:
            return None
        return {"encoder": fingerprint(), "sentences": digest(self.descriptions)}

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of the network's losses."""
        return (1.0, self.motion_weight, self.bone_weight, 1.0)

    def doubts(self, recordings: Sequence[Recording]) -> list[str]:
        """Warnings about the training recordings, a sentence each."""
        axis = upright.upward_axis(recordings[:: max(1, len(recordings) // 200)], self.skeleton)
        if axis >= 0 and upright.AXES[axis] == self.up:
            return []
        stand = f"stand along {upright.AXES[axis]}" if axis >= 0 else "are upside down"
        return [
            f"`problem.up={self.up}`, but persons {stand}; directions and heights of what is "
            "generated depend on the upward axis."
        ]

    def network(self, backbone: "nn.Cell") -> "nn.Cell":
        """Features (N, T, D), conditions (N, W), drawn arrays -> losses (N, 4).

        Raises:
            UserError: the backbone does not generate.
        """
        from flag3d_exp.models.generator import Generator

        return Generator(backbone, self.condition_size, self.num_classes, self.skeleton)

    @property
    def condition_size(self) -> int:
        """W."""
        return self.num_classes + (self.vectors.shape[-1] if self.takes_texts else 0)

    def fit(self, network: "nn.Cell", clips: Iterable[np.ndarray], split: "Sequence[Recording]"):
        """Set the network's statistics: those of the clips; their lengths and headings by class.

        Args:
            clips: (num_clips, M, T, V, C) of each recording, as training shows it.
            split: the training recordings.
        """
        from flag3d_exp.models.generator import QUANTILES

        moments, angles, remaining = Moments(), [], iter(clips)
        while part := list(islice(remaining, AT_ONCE)):
            moved = self.motion(np.stack([one[0] for one in part]))
            angles.extend(moved.headings)
            moments.add(moved.features)
        lengths = np.zeros((self.num_classes, len(QUANTILES)))
        headings = np.zeros((self.num_classes, len(QUANTILES)))
        labels = np.array([one.label for one in split])
        parts = np.linspace(*self.part, len(QUANTILES))
        frames = np.array([one.keypoints.shape[1] for one in split])[:, None] * parts
        for label in np.unique(labels):
            lengths[label] = np.quantile(frames[labels == label], QUANTILES)
            own = around_mean(np.array(angles)[labels == label])
            headings[label] = np.quantile(own, QUANTILES)
        generator: Any = network
        generator.set_statistics(moments, lengths, headings)

    def motion(self, clips: np.ndarray) -> Motion:
        """The features of clips (N, M, T, V, C)."""
        coordinates = clips[:, 0, ..., :3]
        there = coordinates.any(-1)
        return motion(coordinates[..., UPWARD[self.up]], there, self.skeleton, self.root)

    def keypoints(
        self, features: np.ndarray, headings: np.ndarray, origins: np.ndarray
    ) -> np.ndarray:
        """(N, T, V, 3) keypoints in the coordinates of the recordings, see `Motion`."""
        joints = returned_joints(joints_of(features), headings, origins)
        made = np.empty_like(joints)
        made[..., UPWARD[self.up]] = joints
        return made

    def criterion(self, targets: Arrays) -> "nn.Cell":
        """The weighted sum of the network's losses."""
        from flag3d_exp.problems.generation_loss import GenerationLoss

        return GenerationLoss(self.weights)

    def chance(self, network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
        """`seed` (1,) of the conditions, then what the backbone draws."""
        size = (shape[0], shape[2], num_features(self.skeleton))
        return {"seed": rng.integers(2**63, size=1), **network.backbone.chance(size, rng)}

    def batch(self, clips: np.ndarray, targets: Arrays, chance: Arrays) -> tuple[Arrays, Arrays]:
        """Features, conditions and the drawn arrays; the loss needs no targets."""
        drawn = dict(chance)
        rng = np.random.default_rng(drawn.pop("seed"))
        conditions = self.training_conditions(targets["label"], rng)
        return {"features": self.motion(clips).features, "condition": conditions, **drawn}, {}

    def test_inputs(self, clips: np.ndarray, targets: Arrays) -> Arrays:
        """Features, and the classes as conditions."""
        return {
            "features": self.motion(clips).features,
            "condition": self.class_conditions(targets["label"]),
        }

    def predictions(self, outputs: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """The losses (n, 4) of each recording.

        Args:
            outputs: (n, num_clips, 4).
        """
        return outputs.mean(1)

    def metrics(self, predictions: np.ndarray, targets: Arrays) -> dict[str, float]:
        """The mean of each loss, and `loss`, their weighted sum."""
        means = predictions.astype(np.float64).mean(0)
        return {
            "loss": float(means @ self.weights),
            **dict(zip(TERMS, means.tolist(), strict=True)),
        }

    def arrays_to_save(self, predictions: np.ndarray, targets: Arrays) -> Arrays:
        """`losses` (n, 4), `labels` (n,) and the names of the losses."""
        return {"losses": predictions, "labels": targets["label"], "terms": np.array(TERMS)}

    def training_conditions(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, W): half of them classes, half sentences if there are texts; 0 for some."""
        made = self.class_conditions(labels)
        if self.takes_texts:
            which = rng.integers(2, size=len(labels))
            vectors = self.vectors[which, labels]
            vectors = vectors + self.text_noise * rng.standard_normal(vectors.shape)
            by_text = rng.random(len(labels)) < 0.5
            made = np.where(by_text[:, None], self.text_conditions(vectors), made)
        return (made * (rng.random((len(labels), 1)) >= self.dropped)).astype(np.float32)

    def class_conditions(self, labels: np.ndarray) -> np.ndarray:
        """(N, W) float32 conditions of length sqrt(W) that name a class (N,)."""
        made = np.zeros((len(labels), self.condition_size), np.float32)
        made[np.arange(len(labels)), labels] = np.sqrt(self.condition_size)
        return made

    def text_conditions(self, vectors: np.ndarray) -> np.ndarray:
        """(N, W) float32 conditions of length sqrt(W) that hold the vectors of sentences."""
        made = np.zeros((len(vectors), self.condition_size), np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        made[:, self.num_classes :] = vectors / lengths * np.sqrt(self.condition_size)
        return made
