"""The features of a classifier before its dense layer.

Sizes: N clips, C channels, K classes.
"""

from mindspore import nn, ops

from flag3d_exp.errors import UserError
from flag3d_exp.models.classifier import Classifier


class PooledFeatures(nn.Cell):
    """keypoints (N, M, T, V, C) -> (N, C + K): pooled features, then logits.

    Args:
        classifier: its head has a method `pooled_features`.

    Raises:
        UserError: the network is no such classifier.
    """

    def __init__(self, classifier: nn.Cell):
        super().__init__(auto_prefix=False)
        pools = isinstance(classifier, Classifier) and hasattr(classifier.head, "pooled_features")
        if not pools:
            raise UserError(
                "a recogniser must be a network of `problem=classify` or `problem=align`; got "
                f"{type(classifier).__name__}."
            )
        self.backbone, self.head = classifier.backbone, classifier.head
        self.num_features = classifier.num_features

    def construct(self, keypoints):
        features = self.backbone(keypoints)
        return ops.concat([self.head.pooled_features(features), self.head(features)], 1)
