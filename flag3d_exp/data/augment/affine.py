"""Rotation, scale and shear: one random linear map for a whole clip."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data import transforms
from flag3d_exp.data.augment.clip import Clip
from flag3d_exp.errors import UserError


@dataclass(frozen=True)
class Affine:
    """Scale along each axis, then shear, then rotation; about the image's middle in pixels.

    Args:
        rotation: largest angle about each axis, radians; in 3D also one for each of x, y and z. In
            2D there is one angle, in the image's plane.
        scale: largest change of size along each axis, as a share.
        shear: largest shear of one axis by another.
    """

    rotation: Annotated[float, ">= 0"] | tuple[float, float, float] = 0.0
    scale: Annotated[float, ">= 0"] = 0.0
    shear: Annotated[float, ">= 0"] = 0.0

    stage = "clip"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.affine")

    def check_flat(self) -> None:
        """Refuse an angle for each axis where there are two coordinates.

        Raises:
            UserError: naming the setting.
        """
        if isinstance(self.rotation, list | tuple):
            raise UserError(
                "`augment.affine.rotation` must be one angle for 2 coordinates, in the image's "
                f"plane; got {list(self.rotation)}."
            )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip with a linear map drawn for all of its frames."""
        if not (self.scale or self.shear or np.any(self.rotation)):
            return clip
        matrix = self.matrix(clip.poses.keypoints.shape[-1], rng)
        if clip.image_shape is None:
            return clip.of(transforms.mapped(clip.poses, matrix))
        height, width = clip.image_shape
        middle = np.array([width / 2, height / 2], np.float32)
        centred = clip.poses.moved(clip.poses.keypoints - middle)
        mapped = transforms.mapped(centred, matrix)
        return clip.of(mapped.moved(mapped.keypoints + middle))

    def matrix(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """(D, D) random map of `size` coordinates."""
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
