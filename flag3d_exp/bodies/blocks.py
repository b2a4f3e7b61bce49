"""Rigid parts of a body, moved to their joints.

Sizes: T frames, K places of the part.
"""

from typing import NamedTuple

import numpy as np

from flag3d_exp.bodies.frames import hold
from flag3d_exp.bodies.rotations import inverse, kabsch, rotated_vectors


class Block(NamedTuple):
    """A rigid part in every frame.

    Args:
        rotations: (T, 3, 3) from rest.
        moves: (T, 3) translations after the rotation.
        places: (K, 3) at rest, by medians over the recording.
        held: (T,) bool, whether the rotation is that of another frame.
    """

    rotations: np.ndarray
    moves: np.ndarray
    places: np.ndarray
    held: np.ndarray

    def at(self, place: np.ndarray) -> np.ndarray:
        """(T, 3) a point (3,) of the part in every frame."""
        return self.moves + self.rotations @ place


def rigid_block(
    places: np.ndarray, targets: np.ndarray, weights: np.ndarray, known: np.ndarray
) -> Block:
    """The part moved by least squares, with places that are those of the recorded person.

    The places are first those of the body, and then, twice, medians of the recorded ones in the
    frame of the part. In frames whose rotation is unknown, the part still follows its known joints.

    Args:
        places: (K, 3) of the body at rest.
        targets: (T, K, 3) recorded joints.
        weights: (T, K), 0 where a joint is missing.
        known: (T,) bool, whether the joints determine a rotation; in one frame at least.
    """
    for _ in range(2):
        rotations, moves = kabsch(places, targets, weights)
        found = rotated_vectors(inverse(rotations)[:, None], targets - moves[:, None])  # (T, K, 3)
        there = (weights > 0) & known[:, None]
        medians = [
            np.median(found[there[:, k], k], axis=0) if there[:, k].any() else places[k]
            for k in range(len(places))
        ]
        places = np.stack(medians)
    rotations, _ = kabsch(places, targets, weights)
    rotations = hold(rotations, known)
    shares = weights / np.maximum(weights.sum(1, keepdims=True), 1)
    offsets = targets - rotated_vectors(rotations[:, None], np.broadcast_to(places, targets.shape))
    moves = hold(np.einsum("tk,tkc->tc", shares, offsets), weights.any(1))
    return Block(rotations, moves, places, ~known)
