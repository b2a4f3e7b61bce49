"""The size and the lengths of a person, by medians over a recording, and the body that has them.

Sizes: T frames, P places, B bones, N vertices.
"""

from dataclasses import dataclass

import numpy as np

from flag3d_exp.bodies.body import BONES, PARENT, PLACE, SIDES, Body
from flag3d_exp.bodies.rotations import unit
from flag3d_exp.errors import UserError

# The bones with a length of their own, and the places between which it is measured.
MEASURED = {"upper arm": ("shoulder", "elbow"), "forearm": ("elbow", "wrist"),
            "thigh": ("hip", "knee"), "shin": ("knee", "ankle")}  # fmt: skip
# Places at the end of a bone, and the place where it starts. They may be copies of that place.
ENDS = {"hand": "wrist", "tip": "wrist", "thumb": "wrist", "foot": "ankle"}
COPY = 0.2  # of the body's own length: a place that is nearer is a copy


@dataclass(frozen=True, eq=False)
class Shape:
    """A body with the lengths of a person, at rest.

    Args:
        scale: the person's size relative to the body.
        heads: (B, 3) where the bones start.
        lengths: (B,) the bones' lengths relative to the body's.
        places: (P, 3).
    """

    scale: float
    heads: np.ndarray
    lengths: np.ndarray
    places: np.ndarray


def shaped_vertices(body: Body, shape: Shape) -> np.ndarray:
    """(N, 3) float32 vertices of the body with the person's lengths, at rest."""
    moved = np.empty((len(BONES), 3, 4))
    for number in range(len(BONES)):
        stretch = shape.scale * np.eye(3)
        end = next((child for child, parent in enumerate(PARENT) if parent == number), None)
        if shape.lengths[number] != shape.scale and end is not None:
            axis = unit(body.heads[end] - body.heads[number])
            stretch += (shape.lengths[number] - shape.scale) * np.outer(axis, axis)
        moved[number, :, :3] = stretch
        moved[number, :, 3] = shape.heads[number] - stretch @ body.heads[number]
    blended = (body.shares @ moved.reshape(len(BONES), 12).astype(np.float32)).reshape(-1, 3, 4)
    return np.einsum("nij,nj->ni", blended[..., :3], body.vertices) + blended[..., 3]


def size_and_lengths(
    joints: np.ndarray, seen: np.ndarray, body: Body
) -> tuple[float, dict[str, float]]:
    """The person's size relative to the body, and the lengths of the bones of the limbs.

    A bone that is never seen is as long as that of the other side, else as the size suggests.

    Raises:
        UserError: no bone is seen in any frame.
    """
    rest = {bone: float(np.linalg.norm(body.place(end) - body.place(start)))
            for bone, (start, end) in _ends()}  # fmt: skip
    found = {bone: median_distance(joints, seen, start, end)
             for bone, (start, end) in _ends()}  # fmt: skip
    known = {bone: length for bone, length in found.items() if length > 0}
    if not known:
        raise UserError("no frame has both ends of a limb.")
    scale = float(np.median([length / rest[bone] for bone, length in known.items()]))
    other = {"left": "right", "right": "left"}
    lengths = {}
    for bone in rest:
        side, _, name = bone.partition(" ")
        lengths[bone] = known.get(bone, known.get(f"{other[side]} {name}", scale * rest[bone]))
    return scale, lengths


def median_distance(joints: np.ndarray, seen: np.ndarray, start: str, end: str) -> float:
    """The median distance of two places, over the frames with both; NaN without such a frame."""
    both = seen[:, PLACE[start]] & seen[:, PLACE[end]]
    if not both.any():
        return float("nan")
    return float(
        np.median(np.linalg.norm(joints[both, PLACE[end]] - joints[both, PLACE[start]], axis=-1))
    )


def drop_copies(joints: np.ndarray, seen: np.ndarray, body: Body, scale: float) -> None:
    """Count places that are copies of others as not seen, such as hands at the wrist."""
    for side in SIDES:
        for end, start in ENDS.items():
            place = f"tip of {side} hand" if end == "tip" else f"{side} {end}"
            own = np.linalg.norm(body.place(place) - body.place(f"{side} {start}"))
            length = median_distance(joints, seen, f"{side} {start}", place)
            if length < COPY * scale * own:
                seen[:, PLACE[place]] = False


def _ends() -> list[tuple[str, tuple[str, str]]]:
    """Each bone with a length of its own, and the places at its ends."""
    return [
        (f"{side} {bone}", (f"{side} {start}", f"{side} {end}"))
        for side in SIDES
        for bone, (start, end) in MEASURED.items()
    ]
