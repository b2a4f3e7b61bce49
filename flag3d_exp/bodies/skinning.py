"""Linear blend skinning with helper bones, so that joints keep their volume.

Blending two rotations linearly makes a mesh thinner where it bends or twists by much: shoulders
pinch. Two kinds of helpers keep each blend small, and any program that can play a skinned mesh can
play them:
- half: halfway between a bone and its parent, for the skin around the joint.
- twist: parts along a bone, which take none and half of its twist about its own axis.

Sizes: N vertices, F triangles, B bones, R bones and helpers, T frames, K bones per vertex.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flag3d_exp.bodies.body import BONES, NUMBER, PARENT, SIDES, Body, hanging_on
from flag3d_exp.bodies.rotations import inverse, partial, rotated_vectors, unit

MAX_BONES = 4  # per vertex, as many as every viewer of glTF reads
TWISTED = ("upper arm", "forearm", "thigh")  # and the bone at whose head each ends
ENDS = {"upper arm": "forearm", "forearm": "hand", "thigh": "shin"}
TWISTS = (0.0, 0.5)
BENT = ("upper arm", "forearm", "hand", "thigh", "shin", "foot")


@dataclass(frozen=True)
class Helper:
    """A bone that others determine.

    Args:
        bone: the bone to whose head it is attached; its parent is that bone's parent.
        twist: the share of the bone's twist; None: it is halfway between the bone and its parent.
    """

    bone: str
    twist: float | None

    @property
    def name(self) -> str:
        """Its name."""
        return f"{self.bone}, {'bend' if self.twist is None else f'twist {self.twist:g}'}"


HELPERS = tuple(
    [Helper(f"{side} {bone}", twist) for side in SIDES for bone in TWISTED for twist in TWISTS]
    + [Helper(f"{side} {bone}", None) for side in SIDES for bone in BENT]
)
NAMES = (*BONES, *(helper.name for helper in HELPERS))
PARENTS = (*PARENT, *(PARENT[NUMBER[helper.bone]] for helper in HELPERS))
AT = (*range(len(BONES)), *(NUMBER[helper.bone] for helper in HELPERS))  # the bone at its head


@lru_cache(maxsize=4)
def skin(body: Body) -> "Skin":
    """The shares of bones and helpers in each vertex of a body."""
    shares = np.zeros((len(body.vertices), len(NAMES)))
    shares[:, : len(BONES)] = body.shares
    for number, helper in enumerate(HELPERS, start=len(BONES)):
        if helper.twist is None:
            _spread_bend(shares, number, helper.bone)
    for side in SIDES:
        for bone in TWISTED:
            _spread_twist(shares, body, f"{side} {bone}", f"{side} {ENDS[bone]}")
    influences = np.argsort(-shares, axis=1, kind="stable")[:, :MAX_BONES]
    weights = np.take_along_axis(shares, influences, axis=1)
    weights /= weights.sum(1, keepdims=True)
    dense = np.zeros(shares.shape, np.float32)
    np.put_along_axis(dense, influences, weights.astype(np.float32), axis=1)
    return Skin(influences, weights.astype(np.float32), np.ascontiguousarray(dense.T))


@dataclass(frozen=True, eq=False)
class Skin:
    """Which bones and helpers move each vertex.

    Args:
        influences: (N, K) int; `weights`: (N, K) float32.
        dense: (R, N) float32, the same as a matrix.
    """

    influences: np.ndarray
    weights: np.ndarray
    dense: np.ndarray


def all_rotations(rotations: np.ndarray, untwisted: np.ndarray) -> np.ndarray:
    """(T, R, 3, 3) rotations of bones and helpers.

    Args:
        rotations: (T, B, 3, 3) of the bones.
        untwisted: the same without their twist, which differs for bones of `TWISTED`.
    """
    found = [rotations]
    for helper in HELPERS:
        bone = NUMBER[helper.bone]
        without = untwisted[:, bone]
        if helper.twist is None:
            parent = rotations[:, PARENT[bone]]
            made = parent @ partial(inverse(parent) @ without, 0.5)
        elif helper.twist:
            made = without @ partial(inverse(without) @ rotations[:, bone], helper.twist)
        else:
            made = without
        found.append(made[:, None])
    return np.concatenate(found, axis=1)


def skinned_vertices(
    vertices: np.ndarray,
    dense: np.ndarray,
    heads: np.ndarray,
    rotations: np.ndarray,
    positions: np.ndarray,
) -> np.ndarray:
    """(N, 3) the vertices in a pose.

    Args:
        vertices: (N, 3) at rest.
        dense: (R, N), see `Skin`.
        heads: (R, 3) of bones and helpers at rest.
        rotations, positions: (R, 3, 3) and (R, 3) of the pose.
    """
    moved = np.empty((len(heads), 3, 4), np.float32)
    moved[:, :, :3] = rotations
    moved[:, :, 3] = positions - rotated_vectors(rotations, heads)
    blended = moved.reshape(len(heads), 12).T @ dense  # (12, N), row by row of the matrices
    x, y, z = vertices.T
    rows = [blended[4 * row : 4 * row + 4] for row in range(3)]
    return np.stack([a * x + b * y + c * z + d for a, b, c, d in rows], axis=-1)


def normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(N, 3) unit normals of the vertices (N, 3), weighted by the area of their triangles."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    faces = np.cross(b - a, c - a)
    total = np.zeros(vertices.shape)
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(
                triangles[:, corner], weights=faces[:, axis], minlength=len(vertices)
            )
    return unit(total)


def _spread_bend(shares: np.ndarray, helper: int, bone: str) -> None:
    """Give a helper the skin that the bone shares with others nearer to the body's middle."""
    own = shares[:, NUMBER[bone]].copy()
    nearer = shares.copy()
    nearer[:, [NUMBER[bone], helper, *hanging_on(NUMBER[bone], PARENTS)]] = 0
    rest = nearer.sum(1)
    half = 2 * np.minimum(own, rest)
    shares -= nearer * (half / 2 / np.maximum(rest, 1e-9))[:, None]
    shares[:, NUMBER[bone]] -= half / 2
    shares[:, helper] += half


def _spread_twist(shares: np.ndarray, body: Body, bone: str, end: str) -> None:
    """Distribute the skin of a bone along its axis over the helpers of its twist and itself."""
    start, along = body.head(bone), body.head(end) - body.head(bone)
    place = ((body.vertices - start) @ along / (along @ along)).clip(0, 1)
    own = shares[:, NUMBER[bone]].copy()
    names = [*(Helper(bone, twist).name for twist in TWISTS), bone]
    for name, twist in zip(names, (*TWISTS, 1.0), strict=True):
        share = np.maximum(1 - np.abs(place - twist) / 0.5, 0)
        shares[:, NAMES.index(name)] = own * share
