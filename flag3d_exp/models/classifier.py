"""A backbone with a classification head.

Features are (N, M, C, T', ...): clips, persons (1 if the network joins them), channels, frames,
then joints V or pixels H' x W'.
"""

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Initializer, Normal, initializer

from flag3d_exp.errors import UserError
from flag3d_exp.models.layers import Mean


class Classifier(nn.Cell):
    """keypoints (N, M, T, V, C) -> logits (N, num_classes).

    Parameters of the backbone keep their names. Those of the head are `head.<name>`, those of an
    auxiliary loss, which depends on the classes too, are `head.auxiliary.<name>`.

    Args:
        backbone: its `features` is the number of channels that it returns. It may have a method
            `chance(clip shape, rng) -> arrays` that draws random arrays for training, which are
            passed after the keypoints. It may also have `auxiliary(num_classes) -> cell or None`
            for an auxiliary loss, see `auxiliary`; then `construct_with_evidence` returns features
            and the loss's evidence. `head_init(num_classes) -> (weight, bias)` returns the head's
            initializers.
        head: (features, dropout mask or None) -> logits; None for one dense layer.
        dropout: share of the features that training drops; the caller draws the mask.
        teacher: (features, logits, labels) -> a loss that the problem adds in training.

    Attributes:
        auxiliary: (evidence, logits, labels) -> a loss to add in training, or None. With it,
            training returns (logits, evidence).

    Raises:
        UserError: the backbone is one that generates motion.
    """

    def __init__(
        self,
        backbone: nn.Cell,
        num_classes: int,
        dropout: float = 0.0,
        head: nn.Cell | None = None,
        teacher: nn.Cell | None = None,
    ):
        super().__init__(auto_prefix=False)
        check_takes_keypoints(backbone)
        self.backbone = backbone
        if head is None:
            starts = backbone.head_init(num_classes) if hasattr(backbone, "head_init") else ()
            head = Head(backbone.features, num_classes, *starts)
        self.head = head
        self.head.update_parameters_name("head.")
        self.num_features, self.dropout = backbone.features, dropout
        own = backbone.auxiliary(num_classes) if hasattr(backbone, "auxiliary") else None
        if own is not None:
            own.update_parameters_name("head.auxiliary.")
        if teacher is not None:
            teacher.update_parameters_name("head.teacher.")
        self.gives_evidence, self.is_taught = own is not None, teacher is not None
        if own is not None and teacher is not None:
            self.auxiliary = BothLosses(own, teacher)
        else:
            self.auxiliary = teacher if own is None else own

    def construct(self, keypoints, dropout_mask=None, *drawn):
        """dropout_mask: (N, num_features), already scaled by 1 / (1 - dropout), or None.

        drawn: the arrays from `backbone.chance`.
        """
        if self.auxiliary is None or not self.training:
            return self.head(self.backbone(keypoints, *drawn), dropout_mask)
        if not self.gives_evidence:
            features = self.backbone(keypoints, *drawn)
            return self.head(features, dropout_mask), features
        features, evidence = self.backbone.construct_with_evidence(keypoints, *drawn)
        if self.is_taught:
            evidence = (evidence, features)
        return self.head(features, dropout_mask), evidence


class BothLosses(nn.Cell):
    """((evidence, features), logits, labels) -> the backbone's own loss and the teacher's."""

    def __init__(self, own: nn.Cell, teacher: nn.Cell):
        super().__init__(auto_prefix=False)
        self.own, self.teacher = own, teacher

    def construct(self, evidence, logits, labels):
        found, features = evidence
        return self.own(found, logits, labels) + self.teacher(features, logits, labels)


class Head(nn.Cell):
    """Mean over all axes except clips and channels; dropout mask; one dense layer.

    Args:
        weight: how the dense layer's weight is initialised; None: from N(0, 0.01).
        bias: how its bias is.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        weight: Initializer | None = None,
        bias: Initializer | str = "zeros",
    ):
        super().__init__()
        start = Normal(0.01) if weight is None else weight
        self.weight = Parameter(initializer(start, (num_classes, num_features)), name="weight")
        self.bias = Parameter(initializer(bias, num_classes), name="bias")
        self.mean = Mean((2, 3))

    def construct(self, features, dropout_mask=None):
        """features (N, M, C, T', ...), dropout_mask (N, C) -> logits (N, num_classes)."""
        pooled = self.pooled_features(features)
        if dropout_mask is not None:
            pooled = pooled * dropout_mask
        return ops.matmul(pooled, self.weight.T) + self.bias

    def pooled_features(self, features):
        """(N, M, C, T', ...) -> (N, C)."""
        return mean_features(features, self.mean)

    def multiply_adds(self, _x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return out[0] * self.weight.size


def check_takes_keypoints(backbone: nn.Cell) -> None:
    """Refuse a backbone that generates motion.

    Raises:
        UserError: it is one; the message names it.
    """
    if getattr(backbone, "generates", False):
        raise UserError(
            f"{type(backbone).__name__} generates motion and needs `problem=generate`; for this "
            "`problem` take a network that reads keypoints, such as `model=stgcn`."
        )


def mean_features(features, mean):
    """(N, M, C, T', ...) -> (N, C): the mean over the last two axes, then over the others.

    Its name must differ from that of the calling method, or else the graph compiler confuses them.

    Args:
        mean: the calling cell's `Mean((2, 3))`.
    """
    n, m, c = features.shape[:3]
    x = mean(features.reshape(n * m, -1, *features.shape[-2:]))
    return x.reshape(n, m, c, -1).transpose(0, 1, 3, 2).reshape(n, -1, c).mean(1)
