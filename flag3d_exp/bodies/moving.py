"""The bodies of the persons of a recording, ready to be drawn or written.

Sizes: M persons, T frames, N vertices, F triangles, B bones, R bones and helpers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flag3d_exp.bodies import skinning
from flag3d_exp.bodies.body import BONES, Body
from flag3d_exp.bodies.fit import Fitted, fitted_body
from flag3d_exp.bodies.joints import places_of
from flag3d_exp.bodies.shape import shaped_vertices
from flag3d_exp.bodies.skinning import Skin
from flag3d_exp.skeletons.layout import Layout


@dataclass(frozen=True, eq=False)
class MovingBody:
    """A person's body at rest and in every frame; in metres, y upwards.

    Args:
        vertices: (N, 3) float32 at rest, with the person's lengths.
        triangles: (F, 3) int32.
        skin: how bones and helpers move the vertices.
        heads: (R, 3) where bones and helpers start at rest.
        rotations, positions: (T, R, 3, 3) and (T, R, 3) of bones and helpers.
        held: (T, B) bool, see `Fitted`.
        error: mean distance in metres between places of the body and recorded joints.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    skin: Skin
    heads: np.ndarray
    rotations: np.ndarray
    positions: np.ndarray
    held: np.ndarray
    error: float

    @property
    def num_frames(self) -> int:
        """Number of frames, T."""
        return len(self.positions)

    @cached_property
    def normals(self) -> np.ndarray:
        """(N, 3) at rest."""
        return skinning.normals(self.vertices, self.triangles)

    def posed_vertices(self, frame: int) -> np.ndarray:
        """(N, 3) vertices in a frame."""
        pose = self.rotations[frame], self.positions[frame]
        return skinning.skinned_vertices(self.vertices, self.skin.dense, self.heads, *pose)


def moving_bodies(
    keypoints: np.ndarray,
    scores: np.ndarray | None,
    layout: Layout,
    body: Body,
    up: int,
    metres: float = 1.0,
) -> list[MovingBody | None]:
    """The body of each person of a recording; None for persons who are never seen.

    Args:
        keypoints: (M, T, V, 3) in a right-handed system of axes; missing joints are 0.
        scores: (M, T, V), 0 for missing joints; None if there are none.
        up: the upward axis: 0, 1 or 2, or -1, -2 or -3 if it points down.
        metres: factor that converts coordinates to metres.

    Raises:
        UserError: the joints do not determine a body.
    """
    joints, seen = places_of(keypoints, scores, layout)
    joints = upright(joints, up) * metres
    return [
        moving_body(body, fitted_body(*pair, body)) if pair[1].any() else None
        for pair in zip(joints, seen, strict=True)
    ]


def moving_body(body: Body, fit: Fitted) -> MovingBody:
    """The body in the poses of a fit."""
    at = list(skinning.AT)
    return MovingBody(
        shaped_vertices(body, fit.shape).astype(np.float32),
        body.triangles,
        skinning.skin(body),
        fit.shape.heads[at],
        skinning.all_rotations(fit.rotations, fit.untwisted),
        fit.positions[:, at],
        fit.held,
        fit.error,
    )


def upright(points: np.ndarray, up: int) -> np.ndarray:
    """The points (..., 3) with y upwards; a rotation, so left stays left.

    Args:
        up: see `moving_bodies`.
    """
    axis = up if up >= 0 else -1 - up
    sign = 1 if up >= 0 else -1
    order = [(axis + 2) % 3, axis, (axis + 1) % 3]
    return points[..., order] * np.array([1, sign, sign])


def held_parts(people: Sequence[MovingBody | None]) -> dict[str, int]:
    """The bones whose joints are missing in some frames, and the number of those frames."""
    found: dict[str, int] = {}
    for person in people:
        if person is None:
            continue
        for bone, count in zip(BONES, person.held.sum(0).tolist(), strict=True):
            if count:
                found[bone] = found.get(bone, 0) + count
    return found


def faces_backwards(person: MovingBody) -> bool:
    """Whether the feet point to the back of the body in most frames.

    Then the recording's axes are left-handed, or its left and right are exchanged.
    """
    number = [BONES.index(f"{side} foot") for side in ("left", "right")]
    ahead = person.rotations[:, number] @ np.array([0.0, 0.0, 1.0])
    chest = person.rotations[:, BONES.index("pelvis")] @ np.array([0.0, 0.0, 1.0])
    return bool(np.median((ahead * chest[:, None]).sum(-1)) < 0)
