"""A jointed body: angles of a pose in, joints in metres out.

Axes of the body: x to its right, y forward, z up. Angles are in degrees and zero in upright
stance with hanging arms. Sizes: F frames, V joints; every angle is an array (F,).

The first 25 points are the NTU RGB+D joints, followed by nose, eyes and ears (left first).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SIDES = ("left", "right")
TRUNK = ("pitch", "roll", "bend", "side", "twist", "nod", "turn")
LIMBS = ("arm", "arm_plane", "arm_twist", "elbow", "wrist", "leg", "leg_plane", "knee", "ankle")
ANGLES = TRUNK + tuple(f"{side}_{angle}" for side in SIDES for angle in LIMBS)
# Angles that a pose may leave out: people don't vary in them, see `performers`.
RARE_ANGLES = ("tilt", "left_shrug", "right_shrug")
Length = float | np.ndarray
NUM_NTU_JOINTS = 25
NUM_POINTS = 30


@dataclass(frozen=True)
class Bones:
    """Lengths in metres; each a number or an array (F,)."""

    lower_spine: Length = 0.24
    upper_spine: Length = 0.27
    neck: Length = 0.08
    head: Length = 0.17
    shoulder: Length = 0.18
    upper_arm: Length = 0.29
    forearm: Length = 0.25
    hand: Length = 0.08
    hip: Length = 0.09
    thigh: Length = 0.42
    shank: Length = 0.41
    foot: Length = 0.17


def pose_body(angles: Mapping[str, np.ndarray], bones: Bones, flat_feet: np.ndarray) -> np.ndarray:
    """Joints of a body whose pelvis stands at the origin.

    Args:
        angles: every name of `ANGLES` with an array (F,), in degrees.
            `pitch`, `bend`, `nod` lean pelvis, chest and head forward; `roll`, `side` to the right;
            `twist`, `turn` to the left. `arm` and `leg` raise a limb within the vertical plane
            `arm_plane`, `leg_plane`: 0 sideways, 90 forward. `arm_twist` turns it about itself.
            `elbow`, `wrist` and `knee` bend, `ankle` points the foot. Those of `RARE_ANGLES` may be
            absent: `tilt` leans the head to the right, `shrug` lifts a shoulder.
        bones: lengths.
        flat_feet: (F,) 1 where feet stay flat on the ground, 0 where they follow the shank.

    Returns:
        (F, 30, 3)
    """
    num_frames = len(flat_feet)
    points = np.zeros((num_frames, NUM_POINTS, 3))
    pelvis = _rotation("x", -angles["pitch"]) @ _rotation("y", angles["roll"])
    chest = pelvis @ _rotation("x", -angles["bend"]) @ _rotation("y", angles["side"])
    chest = chest @ _rotation("z", angles["twist"])
    neck = chest @ _rotation("x", -angles["nod"])
    if "tilt" in angles:
        neck = neck @ _rotation("y", angles["tilt"])
    head = neck @ _rotation("z", angles["turn"])

    points[:, 1] = _along(pelvis, up=bones.lower_spine)
    points[:, 20] = points[:, 1] + _along(chest, up=bones.upper_spine)
    points[:, 2] = points[:, 20] + _along(chest, up=bones.neck)
    points[:, 3] = points[:, 2] + _along(head, up=bones.head, forward=0.02)
    face = ((25, 0.0, 0.13, 0.0), (26, -0.03, 0.11, 0.04), (27, 0.03, 0.11, 0.04))
    face += ((28, -0.075, 0.01, 0.01), (29, 0.075, 0.01, 0.01))
    for point, right, forward, up in face:
        up_neck = np.asarray(bones.head) * 0.65 + up
        points[:, point] = points[:, 2] + _along(head, right, forward, up_neck)

    for side, sign, shoulder, hip, tip in (("left", -1, 4, 12, 21), ("right", 1, 8, 16, 23)):
        elbow, wrist, hand = shoulder + 1, shoulder + 2, shoulder + 3
        plane = angles[f"{side}_arm_plane"]
        twist = angles[f"{side}_arm_twist"] - plane
        upper = chest @ _swing(sign * plane, sign * angles[f"{side}_arm"], sign * twist)
        lower = upper @ _rotation("x", np.maximum(angles[f"{side}_elbow"], 0))
        palm = lower @ _rotation("x", angles[f"{side}_wrist"])
        clavicle = chest
        if f"{side}_shrug" in angles:
            clavicle = chest @ _rotation("y", -sign * angles[f"{side}_shrug"])
        points[:, shoulder] = points[:, 20] + _along(
            clavicle, sign * np.asarray(bones.shoulder), 0, -0.03
        )
        points[:, elbow] = points[:, shoulder] - _along(upper, up=bones.upper_arm)
        points[:, wrist] = points[:, elbow] - _along(lower, up=bones.forearm)
        points[:, hand] = points[:, wrist] - _along(palm, up=bones.hand)
        points[:, tip] = points[:, hand] - _along(palm, up=bones.hand)
        points[:, tip + 1] = points[:, wrist] + _along(palm, -sign * 0.03, 0.03, -0.06)

        knee, ankle, toe = hip + 1, hip + 2, hip + 3
        plane = angles[f"{side}_leg_plane"]
        # A knee bends within the plane of its leg, whatever that plane is.
        right_angle = np.full(num_frames, -90.0 * sign)
        thigh = pelvis @ _swing(sign * plane, sign * angles[f"{side}_leg"], right_angle)
        shank = thigh @ _rotation("x", -np.maximum(angles[f"{side}_knee"], 0))
        points[:, hip] = _along(pelvis, sign * np.asarray(bones.hip), 0, -0.05)
        points[:, knee] = points[:, hip] - _along(thigh, up=bones.thigh)
        points[:, ankle] = points[:, knee] - _along(shank, up=bones.shank)
        straight = np.broadcast_to([0.1 * sign, 0.95, -0.3], (num_frames, 3))  # (F, 3)
        follow = _along(shank @ _rotation("x", -angles[f"{side}_ankle"]), 0, 0.9, -0.3)
        mixed = flat_feet[:, None] * straight + (1 - flat_feet[:, None]) * follow
        mixed /= np.linalg.norm(mixed, axis=-1, keepdims=True)
        points[:, toe] = points[:, ankle] + mixed * np.reshape(bones.foot, (-1, 1))
    return points


def level(points: np.ndarray, front: tuple[int, ...], rear: tuple[int, ...]) -> np.ndarray:
    """The body turned about its x axis until `front` and `rear` points are at the same height."""
    ahead = points[:, front].mean(axis=1) - points[:, rear].mean(axis=1)  # (F, 3)
    angle = np.degrees(np.arctan2(ahead[:, 2], ahead[:, 1]))
    return points @ _rotation("x", -angle).swapaxes(-1, -2)


def level_across(points: np.ndarray, right: tuple[int, ...], left: tuple[int, ...]) -> np.ndarray:
    """The body turned about its y axis until `right` and `left` points are at the same height."""
    across = points[:, right].mean(axis=1) - points[:, left].mean(axis=1)  # (F, 3)
    angle = np.degrees(np.arctan2(across[:, 2], across[:, 0]))
    return points @ _rotation("y", angle).swapaxes(-1, -2)


def stand(points: np.ndarray, support: tuple[int, ...], hop: np.ndarray) -> np.ndarray:
    """The body put on the ground (z = 0) with the lowest of its `support` points, which rest.

    Args:
        points: (F, 30, 3)
        support: points that may carry the body.
        hop: (F,) height above the ground in metres.
    """
    height = points[:, support, 2]
    # A soft minimum: weight passes from one foot to the other without a jump.
    weight = np.exp(-(height - height.min(axis=1, keepdims=True)) / 0.03)
    weight /= weight.sum(axis=1, keepdims=True)
    contact = np.einsum("fs,fsc->fc", weight, points[:, support])
    contact[:, 2] -= hop
    return points - contact[:, None]


def plant(
    points: np.ndarray,
    support: tuple[int, ...],
    rest: np.ndarray,
    hop: np.ndarray,
    foremost: bool = False,
) -> np.ndarray:
    """The body with its lowest point on the ground (z = 0), while its `support` stays where it is.

    Args:
        points: (F, 30, 3)
        support: points that may carry the body.
        rest: (S, 3) where these are while the body rests.
        hop: (F,) height above the ground in metres.
        foremost: which point of the support bears the weight: the foremost, as in a lunge, or the
            lowest.
    """
    moved = points[:, support] - rest  # (F, S, 3)
    height = -moved[..., 1] if foremost else points[:, support, 2]
    # A soft minimum, as in `stand`.
    weight = np.exp(-(height - height.min(axis=1, keepdims=True)) / 0.05)
    weight /= weight.sum(axis=1, keepdims=True)
    shift = np.einsum("fs,fsc->fc", weight, moved)
    shift[:, 2] = points[..., 2].min(axis=1) - hop
    return points - shift[:, None]


def heading(points: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """The points (F, V, 3) turned by `yaw` (F,) degrees about the vertical."""
    return points @ _rotation("z", yaw).swapaxes(-1, -2)


def _swing(plane: np.ndarray, raised: np.ndarray, twist: np.ndarray) -> np.ndarray:
    return _rotation("z", plane) @ _rotation("y", -raised) @ _rotation("z", twist)


def _along(
    frame: np.ndarray, right: Length = 0.0, forward: Length = 0.0, up: Length = 0.0
) -> np.ndarray:
    """An offset given in the axes of `frame` (F, 3, 3), as (F, 3)."""
    offset = np.zeros((len(frame), 3))
    offset[:, 0], offset[:, 1], offset[:, 2] = right, forward, up
    return np.einsum("fij,fj->fi", frame, offset)


def _rotation(axis: str, degrees: np.ndarray) -> np.ndarray:
    """Rotation matrices (F, 3, 3) about a coordinate axis, right-handed."""
    radians = np.radians(degrees)
    cos, sin = np.cos(radians), np.sin(radians)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.zeros((len(radians), 3, 3))
    matrix[:] = np.eye(3)
    matrix[:, first, first] = matrix[:, second, second] = cos
    matrix[:, second, first] = sin
    matrix[:, first, second] = -sin
    return matrix
