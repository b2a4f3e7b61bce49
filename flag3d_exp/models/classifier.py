"""A backbone with a head that tells classes apart.

Features are (N, M, C, T', ...): clips, persons (1 where the network joins them), channels, frames,
then joints V or pixels H' x W'.
"""

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Normal, initializer

from flag3d_exp.models.layers import Mean


class Classifier(nn.Cell):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes).

    A parameter of the backbone is called as in the backbone alone, one of the head `head.<name>`.

    Args:
        backbone: its `features` is the number of channels that it returns.
        dropout: share of the features that training drops; the caller draws the mask.
    """

    def __init__(self, backbone: nn.Cell, num_classes: int, dropout: float = 0.0):
        super().__init__(auto_prefix=False)
        self.backbone = backbone
        self.head = Head(backbone.features, num_classes)
        self.head.update_parameters_name("head.")
        self.num_features, self.dropout = backbone.features, dropout

    def construct(self, keypoints, dropout_mask=None):
        """dropout_mask: (N, num_features), already scaled by 1 / (1 - dropout)."""
        return self.head(self.backbone(keypoints), dropout_mask)


class Head(nn.Cell):
    """Mean over all but clips and channels; dropout mask; one dense layer."""

    def __init__(self, num_features: int, num_classes: int):
        super().__init__()
        self.weight = Parameter(
            initializer(Normal(0.01), (num_classes, num_features)), name="weight"
        )
        self.bias = Parameter(initializer("zeros", num_classes), name="bias")
        self.mean = Mean((2, 3))

    def construct(self, features, dropout_mask=None):
        """features (N, M, C, T', ...), dropout_mask (N, C) -> logits (N, num_classes)."""
        pooled = self.pooled(features)
        if dropout_mask is not None:
            pooled = pooled * dropout_mask
        return ops.matmul(pooled, self.weight.T) + self.bias

    def pooled(self, features):
        """(N, M, C, T', ...) -> (N, C): the mean over the last two axes, then over the others."""
        n, m, c = features.shape[:3]
        x = self.mean(features.reshape(n * m, -1, *features.shape[-2:]))
        return x.reshape(n, m, c, -1).transpose(0, 1, 3, 2).reshape(n, -1, c).mean(1)

    def multiply_adds(self, _x, out):
        """Of one pass, given the shapes of input and output."""
        return out[0] * self.weight.size
