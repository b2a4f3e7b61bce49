"""SHOT: the backbone learns to fit a frozen classifier (Liang, Hu and Feng, ICML 2020).

The loss makes predictions certain and, over the whole target, diverse. Pseudo-labels from the
nearest centroid of the target's features keep the classes in place.

Sizes: N clips in a batch, n clips in total, K classes, F features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from flag3d_exp import bounds
from flag3d_exp.engine.adapt.statistics import (
    Load,
    TargetStatistics,
    compiled_function,
    norms_training,
    tensors,
)
from flag3d_exp.engine.adapt.tent import entropy
from flag3d_exp.engine.optimizer import sgd
from flag3d_exp.errors import UserError


@dataclass(frozen=True)
class Shot:
    """Information maximisation with pseudo-labels.

    Args:
        lr: of SGD with momentum 0.9.
        epochs: passes over the target; pseudo-labels are recomputed before each pass.
        pseudo_weight: weight of the cross entropy with the pseudo-labels.
    """

    lr: Annotated[float, "> 0"] = 1e-3
    epochs: Annotated[int, ">= 1"] = 3
    pseudo_weight: Annotated[float, ">= 0"] = 0.3

    def __post_init__(self) -> None:
        bounds.check(self, "task.method")

    def __call__(self, network: nn.Cell, load: Load, jit: bool) -> Iterator[dict[str, float]]:
        """Adapt; see the package.

        Raises:
            UserError: the network has no separate head to freeze.
        """
        head: Any = getattr(network, "head", None)
        if head is None or not hasattr(head, "pooled_features"):
            raise UserError("`task.method` Shot needs a backbone with a head that classifies.")
        learned = [p for p in network.trainable_params() if not p.name.startswith("head.")]
        optimizer: Any = sgd([{"params": learned}], lr=self.lr, nesterov=True, weight_decay=0.0)
        weight = self.pseudo_weight

        def loss(labels, *inputs):
            logits: Any = network(*inputs)
            mean = ops.softmax(logits.astype(ms.float32), 1).mean(0)
            diversity = -(mean * ops.log(mean + 1e-8)).sum()
            return entropy(logits) - diversity + weight * ops.cross_entropy(logits, labels)

        of_inputs: Any = None
        gradients: Any = ms.value_and_grad(loss, of_inputs, optimizer.parameters)

        def update(labels, *inputs):
            value, found = gradients(labels, *inputs)
            return ops.depend(value, optimizer(found))

        def look(*inputs):
            features = head.pooled_features(network.backbone(*inputs))
            return features, ops.softmax(network(*inputs), 1)

        step, seen = compiled_function(update, jit), compiled_function(look, jit)
        for epoch in range(self.epochs):
            network.set_train(False)
            pairs = [seen(*tensors(batch)) for batch in load(epoch)]
            features, scores = (
                np.concatenate([pair[i].asnumpy() for pair in pairs]) for i in range(2)
            )
            labels = pseudo_labels(features, scores)
            statistics, start = TargetStatistics(network), 0
            for batch in load(epoch):
                size = len(next(iter(batch.values())))
                own = Tensor(labels[start : start + size].astype(np.int32))
                start += size
                with norms_training(network), statistics.of_batch():
                    value = float(step(own, *tensors(batch)).asnumpy())
                statistics.apply((1.0, 1.0))
                yield {"loss": value}


def pseudo_labels(features: np.ndarray, scores: np.ndarray, rounds: int = 2) -> np.ndarray:
    """(n,) for each feature, the class of the centroid with the highest cosine similarity.

    Args:
        features: (n, F).
        scores: (n, K) weights of the first centroids; later centroids are means by label. A class
            without features has no centroid.
    """
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    shares, num_classes = scores.astype(np.float64), scores.shape[1]
    labels = scores.argmax(1)
    for _ in range(rounds):
        centroids = shares.T @ features / np.maximum(shares.sum(0), 1e-12)[:, None]  # (K, F)
        length = np.linalg.norm(centroids, axis=1, keepdims=True)
        likeness = features @ (centroids / np.maximum(length, 1e-12)).T  # (n, K)
        likeness[:, shares.sum(0) == 0] = -np.inf
        labels = likeness.argmax(1)
        shares = np.eye(num_classes)[labels]
    return labels
