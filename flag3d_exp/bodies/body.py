"""A body: a mesh with 22 bones, in its rest pose, and the places on it that layouts' joints have.

Every body has the same bones, whatever its file calls them, so that one fit serves all.

Sizes: N vertices, F triangles, B bones, K bones per vertex, P places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from flag3d_exp.reading.arrays import npz_arrays

STORED = Path(__file__).with_name("makehuman.npz")
SIDES = ("left", "right")
# Each bone and its parent; parents come first.
PARENTS: dict[str, str | None] = {
    "pelvis": None,
    "lower spine": "pelvis",
    "middle spine": "lower spine",
    "chest": "middle spine",
    "neck": "chest",
    "head": "neck",
}
for _side in SIDES:
    PARENTS |= {
        f"{_side} clavicle": "chest",
        f"{_side} upper arm": f"{_side} clavicle",
        f"{_side} forearm": f"{_side} upper arm",
        f"{_side} hand": f"{_side} forearm",
        f"{_side} thigh": "pelvis",
        f"{_side} shin": f"{_side} thigh",
        f"{_side} foot": f"{_side} shin",
        f"{_side} toes": f"{_side} foot",
    }
BONES = tuple(PARENTS)
NUMBER = {name: number for number, name in enumerate(BONES)}
PARENT = tuple(-1 if parent is None else NUMBER[parent] for parent in PARENTS.values())
# Each place and the bone that carries it; the names are those of `skeletons.mapping`.
PLACES: dict[str, str] = {
    "base of spine": "pelvis",
    "middle of spine": "middle spine",
    "spine at the shoulders": "chest",
    "neck": "chest",
    "head": "head",
    "nose": "head",
}
for _side in SIDES:
    PLACES |= {
        f"{_side} eye": "head",
        f"{_side} ear": "head",
        f"{_side} shoulder": f"{_side} upper arm",
        f"{_side} elbow": f"{_side} forearm",
        f"{_side} wrist": f"{_side} hand",
        f"{_side} hand": f"{_side} hand",
        f"tip of {_side} hand": f"{_side} hand",
        f"{_side} thumb": f"{_side} hand",
        f"{_side} hip": f"{_side} thigh",
        f"{_side} knee": f"{_side} shin",
        f"{_side} ankle": f"{_side} foot",
        f"{_side} foot": f"{_side} foot",
    }
PLACE = {name: number for number, name in enumerate(PLACES)}


@dataclass(frozen=True, eq=False)
class Body:
    """A body in its rest pose: in metres, y upwards, facing z, its left at positive x.

    Args:
        name: whose body it is, for messages and files.
        vertices: (N, 3) float32.
        triangles: (F, 3) int32, counter-clockwise as seen from outside.
        influences: (N, K) int, the bones that move each vertex.
        weights: (N, K) float32, their shares; they add up to 1.
        heads: (B, 3) float64, where each bone starts.
        places: (P, 3) float64 places at rest, in the order of `PLACES`.
    """

    name: str
    vertices: np.ndarray
    triangles: np.ndarray
    influences: np.ndarray
    weights: np.ndarray
    heads: np.ndarray
    places: np.ndarray

    @cached_property
    def shares(self) -> np.ndarray:
        """(N, B) float32 share of every bone in every vertex."""
        shares = np.zeros((len(self.vertices), len(BONES)), np.float32)
        rows = np.arange(len(self.vertices))[:, None]
        np.add.at(shares, (rows, self.influences), self.weights)
        return shares

    def head(self, bone: str) -> np.ndarray:
        """(3,) where the bone starts."""
        return self.heads[NUMBER[bone]]

    def place(self, name: str) -> np.ndarray:
        """(3,) the place at rest."""
        return self.places[PLACE[name]]


@lru_cache(maxsize=1)
def stored_body() -> Body:
    """MakeHuman's body (CC0), which comes with the program; see `makehuman`."""
    stored = npz_arrays(STORED)
    step = float(stored["step"])
    squares = stored["squares"].astype(np.int32)
    weights = stored["weights"].astype(np.float32)
    return Body(
        "MakeHuman",
        (stored["vertices"] * step).astype(np.float32),
        triangles(squares),
        stored["influences"].astype(np.int64),
        weights / weights.sum(1, keepdims=True),
        stored["heads"].astype(np.float64),
        stored["places"].astype(np.float64),
    )


def triangles(squares: np.ndarray) -> np.ndarray:
    """(2 F, 3) the two triangles of each square (F, 4)."""
    return np.concatenate([squares[:, [0, 1, 2]], squares[:, [0, 2, 3]]])


def hanging_on(bone: int, parents: Sequence[int]) -> list[int]:
    """All bones below a bone; parents come first."""
    found = {bone}
    for number, parent in enumerate(parents):
        if parent in found:
            found.add(number)
    return sorted(found - {bone})
