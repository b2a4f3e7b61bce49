"""The head of `problem=align`: compare features with vectors of sentences about the classes.

After PGFA (Zhou et al., Zero-Shot Skeleton-based Action Recognition with Prototype-Guided Feature
Alignment, TIP 2025). Sizes: N clips, M persons, C channels, K classes, W numbers of a vector.
"""

import math

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from flag3d_exp.models.classifier import mean_features
from flag3d_exp.models.layers import Mean

MAX_SCALE = 100.0
EPSILON = 1e-12  # of a squared length


class TextHead(nn.Cell):
    """Mean over all axes except clips and channels; a dense layer to W; scaled cosines with the
    vectors.

    The vectors are not parameters: they are neither trained nor stored in checkpoints, so a trained
    head can be used with vectors of other classes.

    Args:
        num_features: C.
        vectors: (K, W) unit vectors.
        scale: initial value of the learned factor on the cosines.
    """

    def __init__(self, num_features: int, vectors: np.ndarray, scale: float):
        super().__init__()
        width = vectors.shape[1]
        self.weight = Parameter(initializer(Normal(0.01), (width, num_features)), name="weight")
        self.bias = Parameter(initializer("zeros", width), name="bias")
        self.log_scale = Parameter(Tensor([math.log(scale)], ms.float32), name="log_scale")
        self.vectors = Tensor(np.ascontiguousarray(vectors.T, np.float32))  # (W, K)
        self.mean = Mean((2, 3))

    def construct(self, features, dropout_mask=None):
        """features (N, M, C, T', ...), dropout_mask (N, C) -> logits (N, K)."""
        x = self.pooled_features(features)
        if dropout_mask is not None:
            x = x * dropout_mask
        x = (ops.matmul(x, self.weight.T) + self.bias).astype(ms.float32)  # (N, W)
        return ops.matmul(directions(x), self.vectors) * bounded_scale(self.log_scale)

    def pooled_features(self, features):
        """(N, M, C, T', ...) -> (N, C)."""
        return mean_features(features, self.mean)

    def multiply_adds(self, _x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return out[0] * (self.weight.size + self.vectors.size)


def directions(x):
    """Unit vectors (..., W) of vectors (..., W)."""
    return x / ops.sqrt(ops.square(x).sum(-1, keepdims=True) + EPSILON)


def bounded_scale(log_scale):
    """The factor on cosines, at most `MAX_SCALE`, from its logarithm."""
    return ops.minimum(ops.exp(log_scale.astype(ms.float32)), MAX_SCALE)
