"""Skinning with helper bones."""

import numpy as np
from made_up_bodies import made_up

from flag3d_exp.bodies.body import BONES, NUMBER, stored_body
from flag3d_exp.bodies.rotations import about
from flag3d_exp.bodies.shape import shaped_vertices
from flag3d_exp.bodies.skinning import AT, HELPERS, NAMES, all_rotations, skin, skinned_vertices

BODY = stored_body()


def bent(bone: str, angle: float, axis: tuple[float, float, float]):
    """Vertices with one bone, and those that hang on it, turned."""
    rotations = np.tile(np.eye(3), (1, len(BONES), 1, 1))
    turn = about(np.array(axis), np.array(angle))
    positions = BODY.heads.copy()
    for number, name in enumerate(BONES):
        if name == bone or name in ("left forearm", "left hand"):
            rotations[0, number] = turn
            start = BODY.head(bone)
            positions[number] = start + turn @ (BODY.heads[number] - start)
    every = all_rotations(rotations, rotations)[0]
    at = list(AT)
    heads = BODY.heads[at]
    return skinned_vertices(BODY.vertices, skin(BODY).dense, heads, every, positions[at]), turn


def test_the_rest_pose_leaves_the_vertices_where_they_are():
    vertices, _ = bent("left upper arm", 0.0, (0, 0, 1))
    assert np.allclose(vertices, BODY.vertices, atol=1e-5)


def test_a_rigid_motion_moves_every_vertex_rigidly():
    turn = about(np.array([0.0, 1.0, 0.0]), np.array(1.2))
    rotations = np.tile(turn, (1, len(BONES), 1, 1))
    every = all_rotations(rotations, rotations)[0]
    at = list(AT)
    positions = BODY.heads[at] @ turn.T + [1, 2, 3]
    found = skinned_vertices(BODY.vertices, skin(BODY).dense, BODY.heads[at], every, positions)
    assert np.allclose(found, BODY.vertices @ turn.T + [1, 2, 3], atol=1e-5)


def test_a_raised_arm_keeps_the_volume_of_the_shoulder_better_than_without_helpers():
    angle, axis = 1.8, (0, 0, 1)
    found, turn = bent("left upper arm", angle, axis)
    shares = BODY.shares[:, [NUMBER[f"left {bone}"] for bone in ("upper arm", "forearm", "hand")]]
    arm = shares.sum(1)
    start = BODY.head("left upper arm")
    moved = (BODY.vertices - start) @ turn.T + start
    plain = arm[:, None] * moved + (1 - arm)[:, None] * BODY.vertices
    around = (arm > 0.3) & (arm < 0.7)  # skin around the joint, which plain blending draws in
    assert around.sum() > 50
    offsets = [(one - start)[around, :2] for one in (BODY.vertices, plain, found)]
    rest, pinched, kept = (np.linalg.norm(offset, axis=1) for offset in offsets)  # from the axis
    assert (pinched / rest).mean() < 0.7
    assert (kept / rest).mean() > 0.9


def test_helpers_take_half_of_the_bend_and_their_share_of_the_twist():
    along = BODY.head("left forearm") - BODY.head("left upper arm")
    along = along / np.linalg.norm(along)
    rotations = np.tile(np.eye(3), (1, len(BONES), 1, 1))
    untwisted = rotations.copy()
    swing = about(np.array([0.0, 0.0, 1.0]), np.array(1.0))
    number = NUMBER["left upper arm"]
    untwisted[0, number] = swing
    rotations[0, number] = swing @ about(along, np.array(0.8))
    found = dict(zip(NAMES, all_rotations(rotations, untwisted)[0], strict=True))
    assert np.allclose(found["left upper arm, twist 0"], swing)
    expected = swing @ about(along, np.array(0.4))
    assert np.allclose(found["left upper arm, twist 0.5"], expected, atol=1e-6)
    half = about(np.array([0.0, 0.0, 1.0]), np.array(0.5))
    assert np.allclose(found["left upper arm, bend"], half, atol=1e-6)


def test_every_helper_moves_skin():
    moved = skin(BODY).dense.sum(1)
    for helper in HELPERS:
        assert moved[NAMES.index(helper.name)] > 1, helper.name


def test_a_person_of_another_size_is_the_scaled_body():
    made = made_up(BODY, num_frames=2, scale=1.15)
    assert np.allclose(shaped_vertices(BODY, made.fit.shape), 1.15 * BODY.vertices, atol=1e-4)
