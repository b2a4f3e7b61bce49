"""Recordings made with the stored body itself, so that the true pose and vertices are known."""

from dataclasses import dataclass

import numpy as np

from flag3d_exp.bodies.body import BONES, NUMBER, PARENT, PLACES, SIDES, Body
from flag3d_exp.bodies.fit import Fitted
from flag3d_exp.bodies.joints import AS_LAYOUT
from flag3d_exp.bodies.moving import MovingBody, moving_body
from flag3d_exp.bodies.rotations import about, partial, rotated_vectors, unit
from flag3d_exp.bodies.shape import Shape
from flag3d_exp.skeletons.layout import Layout
from flag3d_exp.skeletons.mapping import joint_sources


@dataclass(frozen=True)
class MadeUp:
    """A moving body: joints (T, P, 3) at its places, and its true poses."""

    joints: np.ndarray
    body: MovingBody
    fit: Fitted


def made_up(body: Body, num_frames: int = 20, seed: int = 0, scale: float = 1.0) -> MadeUp:
    """The body in smooth poses whose elbows and knees are bent."""
    rng = np.random.default_rng(seed)
    rotations = np.zeros((num_frames, len(BONES), 3, 3))
    untwisted = np.zeros_like(rotations)
    positions = np.zeros((num_frames, len(BONES), 3))
    heads = scale * body.heads
    turns = {bone: np.broadcast_to(np.eye(3), (num_frames, 3, 3)) for bone in BONES}
    twists = dict(turns)
    turns["pelvis"] = waves(rng, num_frames, 1.0)
    bent = waves(rng, num_frames, 0.25)
    for bone in ("lower spine", "middle spine", "chest"):
        turns[bone] = partial(bent, 1 / 3)
    turns["neck"] = waves(rng, num_frames, 0.2)
    for side in SIDES:
        turns[f"{side} clavicle"] = waves(rng, num_frames, 0.1)
        for upper, lower, end, forwards in (
            ("upper arm", "forearm", "hand", 1),
            ("thigh", "shin", "foot", -1),
        ):
            bones = [f"{side} {bone}" for bone in (upper, lower, end)]
            along = unit(body.head(bones[1]) - body.head(bones[0]))
            beyond = unit(body.head(bones[2]) - body.head(bones[1]))
            across = beyond if upper == "upper arm" else np.array([0.0, 0.0, forwards])
            hinge = unit(np.cross(along, across))
            turns[bones[0]] = waves(rng, num_frames, 0.8)
            angles = rng.uniform(-0.5, 0.5) + 0.2 * wave(rng, num_frames)
            twists[bones[0]] = about(np.broadcast_to(along, (num_frames, 3)), angles)
            angles = 0.9 + 0.4 * wave(rng, num_frames)
            turns[bones[1]] = about(np.broadcast_to(hinge, (num_frames, 3)), angles)
    for number, bone in enumerate(BONES):
        parent = PARENT[number]
        above = rotations[:, parent] if parent >= 0 else np.eye(3)
        swing = turns[bone]
        if bone.endswith(("upper arm", "thigh")):
            end = NUMBER[bone.replace("upper arm", "forearm").replace("thigh", "shin")]
            swing = pure_swing(swing, unit(body.heads[end] - body.heads[number]))
        untwisted[:, number] = above @ swing
        rotations[:, number] = untwisted[:, number] @ twists[bone]
        if parent < 0:
            positions[:, number] = heads[number] + 0.3 * waves(rng, num_frames, 1.0)[:, :, 0]
        else:
            offset = np.broadcast_to(heads[number] - heads[parent], (num_frames, 3))
            positions[:, number] = positions[:, parent] + rotated_vectors(above, offset)
    carriers = [NUMBER[bone] for bone in PLACES.values()]
    offsets = (scale * body.places - heads[carriers])[None].repeat(num_frames, 0)
    joints = positions[:, carriers] + rotated_vectors(rotations[:, carriers], offsets)
    shape = Shape(scale, heads, np.full(len(BONES), scale), scale * body.places)
    held = np.zeros((num_frames, len(BONES)), bool)
    fit = Fitted(shape, rotations, untwisted, positions, held, 0.0)
    return MadeUp(joints, moving_body(body, fit), fit)


def wave(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """(T,) a sine of unit height."""
    return np.sin(np.arange(num_frames) / 6 + rng.uniform(0, 6))


def waves(rng: np.random.Generator, num_frames: int, size: float) -> np.ndarray:
    """(T, 3, 3) rotations about a fixed axis that change smoothly, by up to `size` radians."""
    axis = np.broadcast_to(unit(rng.normal(size=3)), (num_frames, 3))
    return about(axis, size * wave(rng, num_frames))


def pure_swing(rotations: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The smallest rotations that turn the axis as the rotations do."""
    from flag3d_exp.bodies.rotations import shortest_arc

    axes = np.broadcast_to(along, (len(rotations), 3))
    return shortest_arc(axes, rotated_vectors(rotations, axes))


def keypoints_of(joints: np.ndarray, layout: Layout) -> np.ndarray:
    """(1, T, V, 3) float32 keypoints of a layout, at places (T, P, 3) of a body; others are 0."""
    sources = joint_sources(AS_LAYOUT, layout)
    made = np.zeros((1, len(joints), layout.num_joints, 3), np.float32)
    for joint, numbers in enumerate(sources):
        if numbers:
            made[0, :, joint] = joints[:, list(numbers)].mean(1)
    return made
