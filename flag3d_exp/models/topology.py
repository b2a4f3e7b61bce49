"""Encode a skeleton's topology by 0-dimensional persistent homology (BlockGCN).

The edge lengths of a minimum spanning tree of the joints are the distances at which connected
components merge. They are computed from minima and maxima of distances in a few matrix operations.

Sizes: N clips, M persons, T frames, V joints, D coordinates, E elements.
"""

from math import ceil, log2

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer

TINY = 1e-12
FAR = 1e9  # above any length


class Topology(nn.Cell):
    """Joints (N, M, T, V, D) -> encodings of the topology (N, E).

    Each element is a Gaussian around a learned centre, summed over the lengths of the spanning
    tree. There is no gradient to the joints.

    Args:
        of_batch: as in the authors' code, divide distances by the largest of the whole batch and
            compare spanning trees with the largest of the batch, so that a clip's encoding depends
            on the other clips. False: encode each clip separately.
    """

    def __init__(self, num_joints: int, num_elements: int, of_batch: bool):
        super().__init__()
        shape = (num_elements, 2)  # of birth, which is always 0, and death
        centres = initializer(Uniform(0.5), shape).init_data() + 0.5
        self.centres = Parameter(centres, name="centres")
        self.sharpness = Parameter(np.full(shape, 3, np.float32), name="sharpness")
        self.num_joints, self.of_batch = num_joints, of_batch
        not_earlier = np.tril(np.full((num_joints, num_joints), FAR, np.float32))
        self.not_earlier = Tensor(not_earlier)

    def construct(self, joints):
        lengths = ops.stop_gradient(self.tree_lengths(self.distances(joints)))  # (N, V - 1)
        there = ops.greater(lengths, 0).astype(ms.float32)
        number = there.sum(1, keepdims=True)  # (N, 1)
        most = ops.amax(number) if self.of_batch else float(self.num_joints - 1)
        birth = self.sharpness[:, 0] * self.centres[:, 0]  # (E,)
        death = self.sharpness[:, 1] * (self.centres[:, 1] - lengths.expand_dims(2))
        elements = ops.exp(-(birth * birth) - death * death)  # (N, V - 1, E)
        return (elements * there.expand_dims(2)).sum(1) + (most - number)

    def distances(self, joints):
        """(N, V, V) distances between the joints' mean positions, at most 1."""
        places = joints.mean((1, 2))  # (N, V, D)
        between = euclidean(places)
        largest = ops.amax(between) if self.of_batch else ops.amax(between, (1, 2), keepdims=True)
        return between / ops.maximum(largest, Tensor(TINY, ms.float32))

    def tree_lengths(self, points):
        """(N, V - 1) edge lengths of minimum spanning trees of V points; (N, V, V) has a point per
        row.

        The minimax path distance between two points is computed by repeated squaring with
        (minimum, maximum) in place of (sum, product). Each point's edge is its minimax distance to
        the nearest of the earlier points.
        """
        lengths = euclidean(points)
        for _ in range(max(ceil(log2(max(self.num_joints - 1, 1))), 1)):
            longest = ops.maximum(lengths.expand_dims(2), lengths.expand_dims(1))
            lengths = ops.amin(longest, 3)  # (N, V, V)
        return ops.amin(lengths + self.not_earlier, 1)[:, 1:]

    def multiply_adds(self, x, _out):
        """Multiply-adds of distances between positions, then between rows of distances."""
        return x[0] * self.num_joints**2 * (x[4] + self.num_joints)


def euclidean(points):
    """(N, V, V): distances between points (N, V, D)."""
    difference = points.expand_dims(2) - points.expand_dims(1)
    return ops.sqrt((difference * difference).sum(3))
