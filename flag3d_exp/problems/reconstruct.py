"""Self-supervised pre-training: predict hidden joints and frames from the rest, without labels.

Joints are hidden for a span of frames, because a joint hidden in a single frame could be copied
from its neighbours (as in He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022,
and Yan et al., SkeletonMAE, ICCV 2023). Fine-tune the backbone with `task.init_from`.

Sizes: n recordings, N clips in a batch, M persons, T frames, V joints, C channels, of which D are
coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.errors import UserError
from flag3d_exp.problems.problem import Arrays, backbone_chance

if TYPE_CHECKING:
    from mindspore import nn

TEST_SEED = 0  # seed of the hidden joints in evaluations


@dataclass(frozen=True)
class Reconstruct:
    """Settings of `problem=reconstruct`.

    Args:
        layout, num_persons, num_channels, score_channel, clip_len: of the clips, as in `dataset`.
        joints: probability of hiding a joint of a person for a span.
        frames: probability of hiding all joints for a span.
        span: length of a span in frames.
        objective: metric that decides which epoch is best, unless `task.objective` is set.
    """

    layout: str
    num_channels: Annotated[int, ">= 2"]
    num_persons: Annotated[int, ">= 1"] = 1
    score_channel: bool = False
    clip_len: Annotated[int, ">= 1, <= 100000"] = 100
    joints: Annotated[float, ">= 0, < 1"] = 0.4
    frames: Annotated[float, ">= 0, < 1"] = 0.1
    span: Annotated[int, ">= 1"] = 8
    objective: Literal["loss", "error_loss"] = "loss"

    metric_names = ("loss", "error_loss")
    classifies = False

    def __post_init__(self) -> None:
        bounds.check(self, "problem")
        if self.joints == self.frames == 0:
            raise UserError(
                "`problem.joints` or `problem.frames` must be above 0, or nothing is hidden; "
                "got 0 for both."
            )

    @property
    def num_coordinates(self) -> int:
        """D."""
        return self.num_channels - self.score_channel

    def network(self, backbone: "nn.Cell") -> "nn.Cell":
        """keypoints (N, M, T, V, C) -> all coordinates (N, M, T, V, D).

        Raises:
            UserError: the backbone's features are not of joints.
        """
        from flag3d_exp.models.reconstructor import Reconstructor
        from flag3d_exp.skeletons.layout import load_layout

        num_joints = load_layout(self.layout).num_joints
        shape = (1, self.num_persons, self.clip_len, num_joints, self.num_channels)
        return Reconstructor(backbone, shape, self.num_coordinates)

    def criterion(self, targets: Arrays) -> "nn.Cell":
        """The mean squared error of hidden coordinates."""
        from flag3d_exp.problems.hidden_error import HiddenError

        return HiddenError()

    def chance(self, network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
        """`hidden` (N, M, T, V) bool, then the backbone's random arrays."""
        return {"hidden": self.hidden(shape, rng), **backbone_chance(network, shape, rng)}

    def hidden(self, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """(N, M, T, V) bool: the joints to hide in clips of shape (N, M, T, V, C)."""
        num_clips, num_persons, num_frames, num_joints = shape[:4]
        num_spans = -(-num_frames // self.span)
        joints = rng.random((num_clips, num_persons, num_spans, num_joints)) < self.joints
        spans = rng.random((num_clips, 1, num_spans, 1)) < self.frames
        return np.repeat(joints | spans, self.span, axis=2)[:, :, :num_frames]

    def batch(self, clips: np.ndarray, targets: Arrays, chance: Arrays) -> tuple[Arrays, Arrays]:
        """The clips with zeros for hidden joints; the coordinates, and which of them count.

        A joint that is missing in the data is neither hidden nor predicted.
        """
        drawn = dict(chance)
        hidden = drawn.pop("hidden")
        coordinates = clips[..., : self.num_coordinates]
        counted = (hidden & coordinates.any(-1)).astype(np.float32)
        return (
            {"keypoints": clips * ~hidden[..., None], **drawn},
            {"coordinates": coordinates, "counted": counted},
        )

    def test_inputs(self, clips: np.ndarray, targets: Arrays) -> Arrays:
        """The clips with zeros for hidden joints, the same joints in every clip."""
        return {"keypoints": clips * ~self._hidden_in_test(clips.shape)[..., None]}

    def predictions(self, outputs: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """(n, V, 3) sums over the hidden occurrences of a joint: squared error, distance, number.

        Args:
            outputs: (n, num_clips, M, T, V, D).
        """
        coordinates = clips[..., : self.num_coordinates]
        counted = self._hidden_in_test(clips.shape[1:]) & coordinates.any(-1)
        squares = (np.square(outputs - coordinates, dtype=np.float64)).sum(-1) * counted
        sums = [squares, np.sqrt(squares), counted.astype(np.float64)]
        return np.stack([one.sum((1, 2, 3)) for one in sums], axis=-1)

    def metrics(self, predictions: np.ndarray, targets: Arrays) -> dict[str, float]:
        """`loss`, the mean squared error of a coordinate, and `error_loss`, the mean distance.

        Both are of hidden joints, in the units of the clips.
        """
        squares, distances, count = predictions.astype(np.float64).sum((0, 1))
        count = max(count, 1.0)
        return {
            "loss": float(squares / (count * self.num_coordinates)),
            "error_loss": float(distances / count),
        }

    def arrays_to_save(self, predictions: np.ndarray, targets: Arrays) -> Arrays:
        """`joint_errors` (n, V): the mean distance of a joint; NaN if it was never hidden."""
        count = predictions[..., 2]
        errors = np.where(count > 0, predictions[..., 1] / np.maximum(count, 1), np.nan)
        return {"joint_errors": errors.astype(np.float32)}

    def _hidden_in_test(self, shape: Sequence[int]) -> np.ndarray:
        """(1, M, T, V) bool: the joints to hide in clips of shape (N, M, T, V, C)."""
        return self.hidden((1, *shape[1:]), np.random.default_rng(TEST_SEED))
