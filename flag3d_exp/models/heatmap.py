"""Heatmaps of joints or limbs, drawn inside the network (PoseC3D, arXiv 2104.13586).

Sizes: N clips, M persons, T frames, V joints or limbs, S pixels of the square heatmap's side.
"""

from mindspore import Tensor, nn, ops

from flag3d_exp.errors import UserError
from flag3d_exp.skeleton import Layout

MIN_SCORE = 1e-3  # less certain joints draw nothing


class Heatmaps(nn.Cell):
    """keypoints (N, M, T, V, 3) of x, y in heatmap pixels and score -> heatmaps (N * T, V, S, S).

    A joint is a Gaussian as high as its score; a limb is the Gaussian of the distance to the
    segment, as high as the lower of the two scores. Both are cut off at the whole pixels within
    three sigma. Persons are joined by the maximum.

    Args:
        limbs: draw the layout's limbs instead of its joints.
        train_size, test_size: side S in training and otherwise.

    Training needs no gradient with respect to keypoints; who does sets `differentiable`.
    """

    differentiable = False

    def __init__(
        self, layout: Layout, limbs: bool, train_size: int, test_size: int, sigma: float = 0.6
    ):
        super().__init__()
        for name, size in (("train_size", train_size), ("test_size", test_size)):
            if size < 1:
                raise UserError(f"`{name}` must be at least 1 pixel; got {size}.")
        if sigma <= 0:
            raise UserError(f"`sigma` must be above 0 pixels; got {sigma}.")
        self.limbs = limbs
        self.train_size, self.test_size, self.sigma = train_size, test_size, sigma
        self.num_maps = len(layout.limbs) if limbs else layout.num_joints
        starts, ends = zip(*layout.limbs, strict=True)
        self.starts, self.ends = Tensor(starts), Tensor(ends)

    def construct(self, keypoints):
        size = self.train_size if self.training else self.test_size
        n, m, t, _, _ = keypoints.shape
        maps = self.limb_maps(keypoints, size) if self.limbs else self.joint_maps(keypoints, size)
        joined = maps[:, 0]
        for person in range(1, m):
            joined = ops.maximum(joined, maps[:, person])
        joined = joined.reshape(n * t, self.num_maps, size, size)
        return joined if self.differentiable else ops.stop_gradient(joined)

    def joint_maps(self, keypoints, size):
        """(N, M, T, V, S, S) heatmaps of joints; a Gaussian is a product of one row and column."""
        x, y, score = ops.unbind(keypoints, -1)
        across = self.gaussian(x, size) * drawn(score).expand_dims(-1)  # (N, M, T, V, S)
        return self.gaussian(y, size).expand_dims(-1) * across.expand_dims(-2)

    def gaussian(self, center, size):
        """(..., S) values of a Gaussian of height 1 along one axis, cut off at three sigma."""
        center = center.expand_dims(-1)
        pixels = ops.arange(size).astype(center.dtype)
        values = ops.exp(-ops.square(pixels - center) / (2 * self.sigma**2))
        return values * self.window(pixels, center, center)

    def window(self, pixels, low, high):
        """1 at whole pixels from three sigma below `low` to three sigma above `high`, 0 beyond."""
        first = ops.trunc(low - 3 * self.sigma)
        last = ops.trunc(high + 3 * self.sigma)
        return ops.logical_and(pixels >= first, pixels <= last).astype(low.dtype)

    def limb_maps(self, keypoints, size):
        """(N, M, T, V, S, S) heatmaps of limbs."""
        joints = keypoints.expand_dims(-2).expand_dims(-2)  # (N, M, T, joints, 1, 1, 3)
        start_x, start_y, start_score = ops.unbind(ops.gather(joints, self.starts, 3), -1)
        end_x, end_y, end_score = ops.unbind(ops.gather(joints, self.ends, 3), -1)
        pixels = ops.arange(size).astype(keypoints.dtype)
        x, y = pixels.reshape(1, size), pixels.reshape(size, 1)
        length_x, length_y = end_x - start_x, end_y - start_y
        squared_length = ops.square(length_x) + ops.square(length_y)
        point = squared_length < 1  # a limb shorter than a pixel is drawn as its first joint
        along = (x - start_x) * length_x + (y - start_y) * length_y
        along = ops.clamp(along / ops.maximum(squared_length, 1.0), 0.0, 1.0)
        along = ops.where(point, ops.zeros_like(along), along)
        distance = ops.square(x - start_x - along * length_x) + ops.square(
            y - start_y - along * length_y
        )
        values = ops.exp(-distance / (2 * self.sigma**2))  # (N, M, T, V, S, S)
        far_x, far_y = ops.where(point, start_x, end_x), ops.where(point, start_y, end_y)
        values = values * self.window(x, ops.minimum(start_x, far_x), ops.maximum(start_x, far_x))
        values = values * self.window(y, ops.minimum(start_y, far_y), ops.maximum(start_y, far_y))
        certain = drawn(ops.minimum(start_score, end_score))
        height = ops.where(point, start_score, ops.minimum(start_score, end_score))
        return values * ops.where(certain > 0, height, ops.zeros_like(height))


def drawn(score):
    """Scores, with those too low to be drawn set to 0."""
    return ops.where(score < MIN_SCORE, ops.zeros_like(score), score)
