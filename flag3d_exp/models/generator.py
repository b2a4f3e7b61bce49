"""A network that generates motion: a backbone, the embedding of conditions, and the statistics.

Sizes: N clips, T frames, D features of a frame, W numbers of a condition, C channels, R versions of
a clip, K classes, Q quantiles.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from flag3d_exp.errors import UserError
from flag3d_exp.models.constants import constant, set_constants
from flag3d_exp.models.dense import Dense
from flag3d_exp.skeletons.layout import Layout
from flag3d_exp.skeletons.moments import Moments
from flag3d_exp.skeletons.motion import NUM_ROOT

QUANTILES = np.linspace(0, 1, 11)  # of the lengths of a class's clips
FLOOR = 0.1  # least standard deviation of a feature, relative to the root mean square of all
EPSILON = 1e-8  # the square root has no gradient at 0


class Generator(nn.Cell):
    """Features (N, T, D), conditions (N, W), drawn arrays -> losses (N, 4).

    The losses are those of `MotionHead.losses`. Parameters of the backbone keep their names; the
    others are `head.<name>`.

    Args:
        backbone: see `models.mdm`; it has a method `training_outputs`, and its condition has
            `features` numbers.
        condition_size: W.
        num_classes: K.
        layout: of the joints.

    Raises:
        UserError: the backbone does not generate, or is for another number of joints.
    """

    def __init__(self, backbone: nn.Cell, condition_size: int, num_classes: int, layout: Layout):
        super().__init__(auto_prefix=False)
        if not getattr(backbone, "generates", False):
            raise UserError(
                "`problem=generate` needs a network that generates, `model=mdm` or `model=actor`; "
                f"{type(backbone).__name__} does not."
            )
        self.backbone = backbone
        self.head = MotionHead(backbone, condition_size, num_classes, layout)
        self.head.update_parameters_name("head.")

    def construct(self, features, condition, *drawn):
        """drawn: the arrays from the backbone's `chance`; none in an evaluation."""
        clean = self.head.standardised_clips(features)
        found = self.backbone.training_outputs(clean, self.head.condition(condition), *drawn)
        losses = self.head.losses(*found)
        return losses.reshape(features.shape[0], -1, losses.shape[1]).mean(1)

    def set_statistics(self, moments: Moments, lengths: np.ndarray, headings: np.ndarray) -> None:
        """Set the statistics of the training clips, see `MotionHead`; also those of a prior."""
        std = with_floor(moments.std())
        self.head.set_statistics(moments.mean(), std, lengths, headings)
        prior = getattr(self.backbone, "prior", None)
        if prior is not None:
            prior.set_spectrum(*moments.spectrum(std))

    def clean(self, motion, condition, *arrays):
        """The backbone's output (N, T, D), standardised, for its other inputs and conditions."""
        return self.backbone(motion, self.head.condition(condition), *arrays)


class MotionHead(nn.Cell):
    """The embedding of conditions, and statistics of the training clips, which `fit` sets.

    Attributes:
        mean, std: (D,) of the features.
        lengths: (K, Q) quantiles of the recordings' numbers of frames; 0 for a class without any.
        headings: (K, Q) quantiles of the recordings' headings, radians.
    """

    def __init__(self, backbone: nn.Cell, condition_size: int, num_classes: int, layout: Layout):
        super().__init__()
        self.condition = Dense(condition_size, backbone.features)
        size = backbone.num_inputs
        self.mean = constant(np.zeros(size), "mean")
        self.std = constant(np.ones(size), "std")
        self.lengths = constant(np.zeros((num_classes, len(QUANTILES))), "lengths")
        self.headings = constant(np.zeros((num_classes, len(QUANTILES))), "headings")
        pairs = layout.bones
        ends = np.zeros((len(pairs), layout.num_joints))
        ends[np.arange(len(pairs)), pairs[:, 0]] = 1
        ends[np.arange(len(pairs)), pairs[:, 1]] -= 1
        self.ends = Tensor(np.kron(ends, np.eye(3)).T.astype(np.float32))  # (3 V, 3 B)
        self.num_bones = len(pairs)

    def set_statistics(
        self, mean: np.ndarray, std: np.ndarray, lengths: np.ndarray, headings: np.ndarray
    ) -> None:
        """Set the statistics of the training clips, see the attributes."""
        values = {"mean": mean, "std": std, "lengths": lengths, "headings": headings}
        set_constants(self, values)

    def standardised_clips(self, features):
        """(..., D) with mean 0 and variance 1 over the training clips."""
        return (features - self.mean) / self.std

    def losses(self, predicted, clean, own):
        """(N, 4) mean squared errors of positions, of their changes and of bone lengths, and `own`.

        All are relative to the variance of the features.
        """
        n, t, _ = predicted.shape
        error = predicted.astype(ms.float32) - clean
        change = ops.narrow(error, 1, 1, t - 1) - ops.narrow(error, 1, 0, t - 1)
        scale = ops.sqrt(ops.square(self.std).mean())
        length = (self.bone_lengths(predicted) - self.bone_lengths(clean)) / scale
        parts = [
            ops.square(error).reshape(n, -1).mean(1),
            ops.square(change).reshape(n, -1).mean(1),
            ops.square(length).reshape(n, -1).mean(1),
            own,
        ]
        return ops.stack(parts, 1)

    def bone_lengths(self, motion):
        """(N, T, B) of standardised features (N, T, D)."""
        n, t, d = motion.shape
        joints = ops.narrow(motion * self.std + self.mean, 2, 0, d - NUM_ROOT)
        vectors = ops.matmul(joints.reshape(n * t, -1), self.ends)
        squares = ops.square(vectors).reshape(n * t, self.num_bones, 3).sum(-1)
        return ops.sqrt(squares + EPSILON).reshape(n, t, -1)

    def multiply_adds(self, _x, _out):
        """0: the bones' lengths are needed in training only."""
        return 0


def with_floor(std: np.ndarray) -> np.ndarray:
    """Standard deviations (D,), none far below the others, so that still joints are not noise."""
    return np.maximum(std, max(FLOOR * float(np.sqrt(np.square(std).mean())), 1e-6))
