"""Heatmaps of joints or limbs, drawn inside the network (PoseC3D, arXiv 2104.13586).

Sizes: N clips, M persons, T frames, V joints or limbs, S pixels of the square heatmap's side.
"""

from mindspore import Tensor, nn, ops

from flag3d_exp.errors import UserError
from flag3d_exp.models.kernels import kernels
from flag3d_exp.skeletons.layout import Layout

MIN_SCORE = 1e-3  # joints with lower scores are not drawn


class Heatmaps(nn.Cell):
    """keypoints (N, M, T, V, 3) of x, y in heatmap pixels and score -> heatmaps (N * T, V, S, S).

    A joint is a Gaussian with its score as height. A limb is a Gaussian of the distance to the
    segment, with the lower of its two scores as height. Both are cut off at whole pixels within
    three sigma. Persons are merged by the maximum.

    Args:
        limbs: draw the layout's limbs instead of its joints.
        train_size, test_size: side S in training and otherwise.
    """

    def __init__(
        self,
        layout: Layout,
        limbs: bool,
        train_size: int,
        test_size: int,
        sigma: float = 0.6,
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
        table = kernels()
        self.outer_product, self.outer_sum = table.outer_product, table.outer_sum
        self.scaled_planes = table.scaled_planes

    def construct(self, keypoints):
        size = self.train_size if self.training else self.test_size
        n, m, t, _, _ = keypoints.shape
        maps = self.limb_maps(keypoints, size) if self.limbs else self.joint_maps(keypoints, size)
        joined, *others = ops.unbind(maps, 1)
        for other in others:
            joined = ops.maximum(joined, other)
        return joined.reshape(n * t, self.num_maps, size, size)

    def joint_maps(self, keypoints, size):
        """(N, M, T, V, S, S) heatmaps of joints; each is the outer product of row and column."""
        x, y, score = ops.unbind(keypoints, -1)
        across = self.gaussian(x, size) * drawable_scores(score).expand_dims(-1)  # (N, M, T, V, S)
        return self.outer_product(self.gaussian(y, size), across)

    def gaussian(self, center, size):
        """(..., S) values of a Gaussian of height 1 along one axis, cut off at three sigma."""
        pixels = ops.arange(size).astype(center.dtype)
        values = ops.exp(-ops.square(pixels - center.expand_dims(-1)) / (2 * self.sigma**2))
        return values * self.window(pixels, center, center)

    def window(self, pixels, low, high):
        """(..., S): 1 at whole pixels from `low` - 3 sigma to `high` + 3 sigma (...), 0 beyond."""
        first = ops.trunc(low - 3 * self.sigma).expand_dims(-1)
        last = ops.trunc(high + 3 * self.sigma).expand_dims(-1)
        return ops.logical_and(pixels >= first, pixels <= last).astype(low.dtype)

    def limb_maps(self, keypoints, size):
        """(N, M, T, V, S, S) heatmaps of limbs."""
        start_x, start_y, start_score = ops.unbind(ops.gather(keypoints, self.starts, 3), -1)
        end_x, end_y, end_score = ops.unbind(ops.gather(keypoints, self.ends, 3), -1)
        length_x, length_y = end_x - start_x, end_y - start_y  # (N, M, T, V)
        squared_length = ops.square(length_x) + ops.square(length_y)
        point = squared_length < 1  # a limb shorter than a pixel is drawn as its first joint
        zero = ops.zeros_like(length_x)
        length_x, length_y = ops.where(point, zero, length_x), ops.where(point, zero, length_y)
        pixels = ops.arange(size).astype(keypoints.dtype)
        x, y = pixels - start_x.expand_dims(-1), pixels - start_y.expand_dims(-1)  # (N, M, T, V, S)
        reach = ops.maximum(squared_length, 1.0)
        share_x, share_y = length_x / reach, length_y / reach
        along = self.outer_sum(y * share_y.expand_dims(-1), x * share_x.expand_dims(-1))
        along = ops.clamp(along, 0.0, 1.0)  # (N, M, T, V, S, S): share of the limb's length
        zeros = ops.zeros_like(x)
        from_x = self.outer_sum(zeros, x) - self.scaled_planes(along, length_x)
        from_y = self.outer_sum(y, zeros) - self.scaled_planes(along, length_y)
        values = ops.exp(-(ops.square(from_x) + ops.square(from_y)) / (2 * self.sigma**2))
        far_x, far_y = ops.where(point, start_x, end_x), ops.where(point, start_y, end_y)
        across = self.window(pixels, ops.minimum(start_x, far_x), ops.maximum(start_x, far_x))
        down = self.window(pixels, ops.minimum(start_y, far_y), ops.maximum(start_y, far_y))
        lower = ops.minimum(start_score, end_score)
        score = ops.where(drawable_scores(lower) > 0, ops.where(point, start_score, lower), zero)
        return values * self.outer_product(down, across * score.expand_dims(-1))


def drawable_scores(score):
    """Scores, with those below `MIN_SCORE` set to 0."""
    return ops.where(score < MIN_SCORE, ops.zeros_like(score), score)
