"""Crop, resize and mirror images, applied to their joints only; used for heatmaps.

Keypoints are 2D float32 pixels. Image shapes are (height, width).
"""

import numpy as np

from flag3d_exp.data.poses import Poses

Shape = tuple[int, int]


def compact(
    poses: Poses,
    image_shape: Shape,
    padding: float = 0.25,
    square: bool = True,
    beyond_image: bool = True,
    min_side: float = 10.0,
) -> tuple[Poses, Shape]:
    """Poses in the box around the visible joints of all persons and frames, and the box's shape.

    Args:
        padding: relative increase of the box's sides.
        square: widen the shorter side to the longer one.
        beyond_image: the box may extend beyond the image.
        min_side: if a side of the box is shorter than this, the poses are returned unchanged.
    """
    seen = poses.keypoints[poses.visible].astype(np.float64)  # (n, 2)
    if not len(seen) or (np.ptp(seen, axis=0) < min_side).any():
        return poses, image_shape
    low, high = seen.min(0), seen.max(0)
    center, half = (low + high) / 2, (high - low) / 2 * (1 + padding)
    if square:
        half = np.full(2, half.max())
    low, high = center - half, center + half
    if not beyond_image:
        low, high = np.maximum(low, 0), np.minimum(high, image_shape[::-1])
    low, high = np.trunc(low), np.trunc(high)
    width, height = (high - low).astype(int).tolist()
    return poses.moved_poses((poses.keypoints - low).astype(np.float32)), (height, width)


def resized_poses(poses: Poses, image_shape: Shape, new_shape: Shape) -> Poses:
    """Poses in an image that is resized to `new_shape`."""
    factors = np.array([new_shape[1] / image_shape[1], new_shape[0] / image_shape[0]], np.float32)
    return poses.moved_poses(poses.keypoints * factors)


def short_side(image_shape: Shape, side: int) -> Shape:
    """The image's shape after resizing its shorter side to `side`, at the same aspect ratio."""
    factor = side / min(image_shape)
    height, width = (int(length * factor + 0.5) for length in image_shape)
    return height, width


def random_crop(
    image_shape: Shape,
    area: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
    num_tries: int = 10,
) -> tuple[tuple[int, int], Shape]:
    """(x, y) of the corner, and the shape, of a crop of random size, aspect ratio and position.

    Args:
        area: range of the share of the image's area.
        ratio: range of width / height, drawn uniformly on a logarithmic scale.
        num_tries: number of draws before the largest centred square is used instead.
    """
    height, width = image_shape
    areas = rng.uniform(*area, num_tries) * height * width
    ratios = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1]), num_tries))
    widths, heights = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (widths <= width) & (heights <= height)
    if not fits.any():
        side = min(height, width)
        return ((width - side) // 2, (height - side) // 2), (side, side)
    first = fits.argmax()
    crop = int(heights[first]), int(widths[first])
    x, y = rng.integers(width - crop[1] + 1), rng.integers(height - crop[0] + 1)
    return (int(x), int(y)), crop


def center_crop(image_shape: Shape, crop: Shape) -> tuple[int, int]:
    """(x, y) of the corner of a centred crop."""
    return (image_shape[1] - crop[1]) // 2, (image_shape[0] - crop[0]) // 2


def cropped_poses(poses: Poses, corner: tuple[int, int]) -> Poses:
    """Poses relative to the crop's corner; joints outside the crop stay visible."""
    return poses.moved_poses(poses.keypoints - np.array(corner, np.float32))


def flipped_poses(poses: Poses, width: float, mirror_order: np.ndarray) -> Poses:
    """Poses with x mirrored in an image of this width, left and right joints exchanged."""
    poses = poses.joints(mirror_order)
    keypoints = poses.keypoints.copy()
    keypoints[..., 0] = width - keypoints[..., 0]
    return poses.moved_poses(keypoints)
