"""ProtoGCN: Revealing Key Details to See Differences: A Novel Prototypical Perspective for
Skeleton-based Action Recognition (CVPR 2025, arXiv 2411.18941).

A wide DG-STGCN. In training, the input-dependent edges of its last block are reconstructed from
learned prototypes, and a contrastive loss pulls the reconstruction towards the mean of its class.
Predictions use neither.

Sizes: N clips, M persons, T frames, V joints, C channels, P prototypes, K classes.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from flag3d_exp.models.dense import Dense, uniform
from flag3d_exp.models.dgstgcn import DGSTGCN
from flag3d_exp.models.layers import Conv, ConvNorm

PROJECTION = 256  # size of a clip's vector in the contrastive loss
MOMENTUM = 0.9  # of the class means
TEMPERATURE = 0.125
TINY = 1e-12  # added to lengths that are divided by


class ProtoGCN(DGSTGCN):
    """Learned graphs with edges by channel and by joint, then temporal branches.

    Args:
        num_prototypes: number of prototypes P; published: 400 for joints, 100 for bones.
        contrastive_weight: of the contrastive loss; published: 0.2 for joints, 0.3 for bones, 0.1
            for k-bones. With 0 there are no prototypes and there is no such loss.
        prototype_dropout: share of the reconstructed edges that training drops.

    The other settings are those of `DGSTGCN`.
    """

    bounds = {"base_channels": ">= 6"}  # a channel for each of six branches

    published = (
        *DGSTGCN.published,
        (r"^prototypes\.query\.", "backbone.prn.query_matrix."),
        (r"^prototypes\.memory\.", "backbone.prn.memory_matrix."),
        (r"^prototypes\.mix\.conv\.", "backbone.post."),
        (r"^prototypes\.mix\.bn\.", "backbone.bn."),
        (r"^cls_head\.fc_cls\.auxiliary\.projection\.", "cls_head.csc_loss.cl_fc."),
        (r"^cls_head\.fc_cls\.auxiliary\.class_means$", ""),
    )

    def __init__(
        self,
        layout: str,
        num_channels: int = 3,
        num_persons: int = 1,
        base_channels: Annotated[int, ">= 1"] = 96,
        num_blocks: Annotated[int, ">= 1"] = 10,
        widen_at: tuple[Annotated[int, ">= 1"], ...] = (5, 8),
        num_graphs: Annotated[int, ">= 1"] = 8,
        ratio: Annotated[float, ">= 1 / base_channels"] = 0.125,
        num_prototypes: Annotated[int, ">= 1"] = 400,
        contrastive_weight: Annotated[float, ">= 0"] = 0.2,
        prototype_dropout: Annotated[float, ">= 0, < 1"] = 0.1,
        dropout: Annotated[float, ">= 0, < 1"] = 0.0,
    ):
        super().__init__(
            layout,
            num_channels,
            num_persons,
            base_channels,
            num_blocks,
            widen_at,
            num_graphs,
            ratio,
            dropout,
        )
        self.contrastive_weight = contrastive_weight
        self.prototype_dropout = prototype_dropout
        last = self.blocks[-1].graph
        self.graph_channels = last.source.weight.shape[0]
        self.num_joints = last.adjacency.shape[-1]
        self.prototypes: Any = None
        if contrastive_weight > 0:
            self.prototypes = Prototypes(self.graph_channels, num_prototypes)

    def auxiliary(self, num_classes: int) -> nn.Cell | None:
        """The contrastive loss of `construct_with_evidence`."""
        if self.prototypes is None:
            return None
        return ContrastiveLoss(self.num_joints**2, num_classes, self.contrastive_weight)

    def chance(self, shape: Sequence[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """`prototype_mask` (N, C, V * V): scaled dropout mask of the reconstructed edges."""
        if self.prototypes is None or self.prototype_dropout == 0:
            return {}
        size = (shape[0], self.graph_channels, self.num_joints**2)
        keep = rng.random(size, np.float32) >= self.prototype_dropout
        return {"prototype_mask": keep / np.float32(1 - self.prototype_dropout)}

    def construct_with_evidence(self, keypoints, prototype_mask=None):
        """Features, and the reconstructed edges (N, V * V)."""
        before = x = self.norm(keypoints)  # (N * M, C, T, V)
        for block in self.blocks:
            before, x = x, block(x)
        n, m = keypoints.shape[:2]
        edges = self.blocks[-1].graph.dynamic_graph(before)
        edges = edges.reshape(n, m, self.graph_channels, -1).mean(1)
        return x.reshape(n, m, *x.shape[1:]), self.prototypes(edges, prototype_mask)


class Prototypes(nn.Cell):
    """Reconstruct edges (N, C, V * V) from P prototypes by similarity, as one number (N, V * V)."""

    def __init__(self, num_channels: int, num_prototypes: int):
        super().__init__()
        self.query = Conv(num_channels, num_prototypes, bias=False, init=uniform(num_channels))
        self.memory = Conv(num_prototypes, num_channels, bias=False, init=uniform(num_prototypes))
        self.mix = ConvNorm(num_channels, num_channels, init=uniform(num_channels), relu=True)

    def construct(self, edges, mask=None):
        """mask: (N, C, V * V), already scaled; None without dropout."""
        likeness = ops.softmax(self.query(edges.expand_dims(-1)), 1)  # (N, P, V * V, 1)
        rebuilt = self.memory(likeness)
        if mask is not None:
            rebuilt = rebuilt * mask.expand_dims(-1)
        return self.mix(rebuilt).mean((1, 3))


class ContrastiveLoss(nn.Cell):
    """Contrastive loss of clips with the running means of their own and of other classes.

    Correctly classified clips update the means before the loss is computed. The gradient also flows
    through a clip's share in the mean.

    Args:
        weight: factor on the loss.
    """

    def __init__(self, num_features: int, num_classes: int, weight: float):
        super().__init__()
        self.projection = Dense(num_features, PROJECTION)
        means = initializer(Normal(1.0), (PROJECTION, num_classes))
        self.class_means = Parameter(means, name="class_means", requires_grad=False)
        self.num_classes, self.weight = num_classes, weight

    def construct(self, features, logits, labels, *_mixed):
        """features (N, F), logits (N, K), labels (N,) (the first of mixed clips) -> the loss."""
        z = self.projection(features.astype(ms.float32))  # (N, 256)
        one, zero = Tensor(1.0, ms.float32), Tensor(0.0, ms.float32)
        target = ops.one_hot(labels, self.num_classes, one, zero)  # (N, K)
        right = (logits.argmax(1) == labels).astype(ms.float32)
        counted = target * right.expand_dims(1)
        number = counted.sum(0)  # (K,)
        mean = ops.matmul(z.T, counted) / ops.maximum(number, one)
        share = (1 - MOMENTUM) * (number > 0).astype(ms.float32)
        means = self.class_means * (1 - share) + mean * share  # (256, K)
        likeness = ops.matmul(z / lengths(z, 1), means / lengths(means, 0)) / TEMPERATURE
        loss = -(target * ops.log_softmax(likeness, 1)).sum(1).mean()
        update = ops.assign(self.class_means, ops.stop_gradient(means))
        return ops.depend(self.weight * loss, update)


def lengths(x, axis):
    """L2 norms along an axis, which is kept with size 1."""
    return ops.sqrt((x * x).sum(axis, keepdims=True)) + TINY
