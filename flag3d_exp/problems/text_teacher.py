"""Sentences that teach a classifier: a further loss in training, no part of the trained network.

After GAP (Xiang et al., Generative Action Description Prompts for Skeleton-based Action
Recognition, ICCV 2023). Sizes: N clips, M persons, C channels, V joints, K classes, H heads (the
whole body, then parts of it), W numbers of a vector.
"""

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from flag3d_exp.models.classifier import mean_features
from flag3d_exp.models.layers import Mean
from flag3d_exp.models.text_head import bounded_scale, directions
from flag3d_exp.problems.text_contrast import contrast, one_hot
from flag3d_exp.skeletons.layout import Layout
from flag3d_exp.skeletons.parts import part_joints
from flag3d_exp.texts.descriptions import Description
from flag3d_exp.texts.vectors import sentence_vectors

SCALE = 14.0  # factor on cosines before training, which learns it


class TextTeacher(nn.Cell):
    """(features, logits, labels) -> `weight` times the mean over heads of the contrast with texts.

    Each head compares the mean features of its joints, through a dense layer to W, with the vectors
    of the classes' sentences on its part of the body. Clips of classes without such a sentence
    take no part in the head's loss.

    Args:
        num_features: C.
        vectors: (H, K, W) unit vectors; zeros where a class has no sentence.
        joints: of each head but the first, as fractions (V, H - 1) whose columns add to 1; None:
            the features are not of joints, and there is one head.
        weight: of the loss.
    """

    def __init__(
        self, num_features: int, vectors: np.ndarray, joints: np.ndarray | None, weight: float
    ):
        super().__init__()
        heads, _, width = vectors.shape
        shape = (heads, width, num_features)
        self.weight = Parameter(initializer(Normal(0.01), shape), name="weight")
        self.bias = Parameter(initializer("zeros", (heads, 1, width)), name="bias")
        start = np.full((heads, 1, 1), math.log(SCALE), np.float32)
        self.log_scale = Parameter(Tensor(start), name="log_scale")
        self.vectors = Tensor(np.ascontiguousarray(vectors.transpose(0, 2, 1), np.float32))
        described = np.abs(vectors).sum(2) > 0
        self.described = Tensor(described.astype(np.float32))  # (H, K)
        self.joints = None if joints is None else Tensor(joints.astype(np.float32))
        self.mean = Mean((2, 3))
        self.num_heads, self.factor = heads, weight

    def construct(self, features, logits, labels):
        """features (N, M, C, T', ...), logits (N, K), labels (N,)."""
        pooled = mean_features(features, self.mean).expand_dims(0)  # (1, N, C)
        if self.joints is not None:
            of_joints = features.mean((1, 3))  # (N, C, V)
            parts = ops.matmul(of_joints, self.joints).transpose(2, 0, 1)
            pooled = ops.concat((pooled, parts))  # (H, N, C)
        x = ops.bmm(pooled, self.weight.transpose(0, 2, 1)) + self.bias
        x = x.astype(ms.float32)  # (H, N, W)
        cosines = ops.bmm(directions(x), self.vectors) * bounded_scale(self.log_scale)  # (H, N, K)
        chosen = one_hot(labels, logits.shape[1])
        takes_part = ops.matmul(self.described, chosen.T)  # (H, N)
        return contrast(cosines, chosen, takes_part) * self.factor


def taught_parts(
    descriptions: Sequence[Description], layout: Layout | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """What each head of a `TextTeacher` learns: `vectors` and `joints`.

    Args:
        layout: of the features' joints; None: the features are not of joints, and there is no head
            but that of the whole body.

    Raises:
        UserError: see `sentence_vectors`.
    """
    whole = sentence_vectors([one.whole for one in descriptions])
    vectors, joints = [whole], []
    for part, numbers in ({} if layout is None else part_joints(layout)).items():
        sentences = [dict(one.parts).get(part) for one in descriptions]
        known = [number for number, sentence in enumerate(sentences) if sentence is not None]
        if len(known) < 2:  # nothing to tell apart
            continue
        of_part = np.zeros_like(whole)
        of_part[known] = sentence_vectors([one for one in sentences if one is not None])
        vectors.append(of_part)
        assert layout is not None
        joints.append(np.isin(np.arange(layout.num_joints), numbers) / len(numbers))
    return np.stack(vectors), np.stack(joints, axis=1) if joints else None
