"""Rotation, scale and shear: one random linear map for all frames of a clip."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data import transforms
from flag3d_exp.data.augment.clip import Clip
from flag3d_exp.errors import UserError


@dataclass(frozen=True)
class Affine:
    """Scale along each axis, then shear, then rotate; pixels about the middle of the image.

    Args:
        rotation: largest angle about each axis, radians; in 3D it may be three angles, for x, y
            and z; in 2D it is one angle, in the image plane.
        scale: largest relative change of size along each axis.
        shear: largest shear of one axis by another.
    """

    rotation: Annotated[float, ">= 0"] | tuple[float, float, float] = 0.0
    scale: Annotated[float, ">= 0"] = 0.0
    shear: Annotated[float, ">= 0"] = 0.0

    stage = "clip"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.affine")

    def check_flat(self) -> None:
        """Refuse one angle per axis if there are two coordinates.

        Raises:
            UserError: `rotation` is not one angle.
        """
        if isinstance(self.rotation, list | tuple):
            raise UserError(
                "`augment.affine.rotation` must be one angle for 2 coordinates, in the image's "
                f"plane; got {list(self.rotation)}."
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip after one random linear map for all frames."""
        if not (self.scale or self.shear or np.any(self.rotation)):
            return clip
        matrix = self.matrix(clip.poses.keypoints.shape[-1], rng)
        if clip.image_shape is None:
            return clip.of(transforms.mapped_poses(clip.poses, matrix))
        height, width = clip.image_shape
        middle = np.array([width / 2, height / 2], np.float32)
        centred = clip.poses.moved_poses(clip.poses.keypoints - middle)
        mapped = transforms.mapped_poses(centred, matrix)
        return clip.of(mapped.moved_poses(mapped.keypoints + middle))

    def matrix(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """(D, D) random linear map for D = `size` coordinates."""
        matrix = np.eye(size)
        if self.scale:
            matrix = np.diag(1 + rng.uniform(-self.scale, self.scale, size))
        if self.shear:
            amount = rng.uniform(-self.shear, self.shear, (size, size))
            matrix = (np.eye(size) + amount * (1 - np.eye(size))) @ matrix
        if np.any(self.rotation):
            limit = np.broadcast_to(np.asarray(self.rotation, np.float64), 3)
            limit = limit if size == 3 else limit[2:]
            matrix = transforms.rotation(rng.uniform(-limit, limit)) @ matrix
        return matrix
