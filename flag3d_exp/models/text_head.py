"""The head of `problem=align`: compare features with vectors of sentences about the classes.

Trained as in PGFA (Zhou et al., Zero-Shot Skeleton-based Action Recognition with Prototype-Guided
Feature Alignment, TIP 2025). Classes that were not trained are recognised by the combination of
the trained ones, as in ConSE (Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic
Embeddings, ICLR 2014): the dense layer knows directions to trained sentences only, and what it
gives between them is arbitrary.

Sizes: N clips, M persons, C channels, K classes, A trained classes, W numbers of a vector.
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

    In evaluations the logits of trained classes are these cosines. The others are compared with
    the mean of the trained vectors, weighted by the softmax of their logits. For this comparison
    the mean of the trained vectors is subtracted from all vectors: sentences about movements have
    much in common, which tells nothing about the class.

    The vectors of the classes are not parameters: they are neither trained nor stored in
    checkpoints, so a trained head can be used with vectors of other classes. Those of the trained
    classes, `anchors`, are stored.

    Args:
        num_features: C.
        vectors: (K, W) unit vectors.
        scale: initial value of the learned factor on the cosines.
        trained: (K,) bool, the classes that are trained.
        num_anchors: A, if it is not the number of these classes: the head was trained on others.
        softness: divides the logits of trained classes before the softmax.
        gate: added to the logits of the other classes.
    """

    def __init__(
        self,
        num_features: int,
        vectors: np.ndarray,
        scale: float,
        trained: np.ndarray,
        num_anchors: int | None = None,
        softness: float = 1.0,
        gate: float = 0.0,
    ):
        super().__init__()
        width = vectors.shape[1]
        self.weight = Parameter(initializer(Normal(0.01), (width, num_features)), name="weight")
        self.bias = Parameter(initializer("zeros", width), name="bias")
        self.log_scale = Parameter(Tensor([math.log(scale)], ms.float32), name="log_scale")
        anchors = vectors[trained] if num_anchors is None else np.zeros((num_anchors, width))
        self.anchors = Parameter(
            Tensor(anchors.astype(np.float32)), name="anchors", requires_grad=False
        )
        self.vectors = Tensor(np.ascontiguousarray(vectors.T, np.float32))  # (W, K)
        self.trained = Tensor(trained.astype(np.float32))  # (K,)
        self.softness, self.gate = softness, gate
        self.all_trained = bool(trained.all())
        self.mean = Mean((2, 3))

    def construct(self, features, dropout_mask=None):
        """features (N, M, C, T', ...), dropout_mask (N, C) -> logits (N, K)."""
        x = self.pooled_features(features)
        if dropout_mask is not None:
            x = x * dropout_mask
        x = directions((ops.matmul(x, self.weight.T) + self.bias).astype(ms.float32))  # (N, W)
        scale = bounded_scale(self.log_scale)
        logits = ops.matmul(x, self.vectors) * scale
        if self.training or self.all_trained:
            return logits
        common = self.anchors.mean(0, keep_dims=True)  # (1, W)
        shares = ops.softmax(ops.matmul(x, self.anchors.T) * (scale / self.softness), -1)
        combined = directions(ops.matmul(shares, directions(self.anchors - common)))
        others = ops.matmul(combined, directions(self.vectors.T - common).T) * scale + self.gate
        return logits * self.trained + others * (1.0 - self.trained)

    def pooled_features(self, features):
        """(N, M, C, T', ...) -> (N, C)."""
        return mean_features(features, self.mean)

    def multiply_adds(self, _x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        products = self.weight.size + self.vectors.size
        if not self.all_trained:
            products += 2 * self.anchors.size + self.vectors.size
        return out[0] * products


def directions(x):
    """Unit vectors (..., W) of vectors (..., W)."""
    return x / ops.sqrt(ops.square(x).sum(-1, keepdims=True) + EPSILON)


def bounded_scale(log_scale):
    """The factor on cosines, at most `MAX_SCALE`, from its logarithm."""
    return ops.minimum(ops.exp(log_scale.astype(ms.float32)), MAX_SCALE)
