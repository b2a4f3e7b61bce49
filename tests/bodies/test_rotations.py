"""Rotations as matrices and quaternions."""

import numpy as np
import pytest

from flag3d_exp.bodies.rotations import (
    about,
    kabsch,
    matrices,
    partial,
    quaternions,
    rotated_vectors,
    shortest_arc,
    unit,
)

RNG = np.random.default_rng(0)
RANDOM = matrices(RNG.normal(size=(500, 4)))


def test_rotations_are_orthonormal_and_not_mirrored():
    identity = np.eye(3)
    assert np.allclose(RANDOM @ np.swapaxes(RANDOM, -1, -2), identity)
    assert np.allclose(np.linalg.det(RANDOM), 1)


def test_a_quarter_turn_about_z_turns_x_to_y():
    turn = about(np.array([0.0, 0.0, 1.0]), np.array(np.pi / 2))
    assert np.allclose(turn @ [1, 0, 0], [0, 1, 0])
    assert np.allclose(quaternions(turn), [0, 0, np.sqrt(0.5), np.sqrt(0.5)])


def test_quaternions_give_back_the_matrix_also_of_half_turns():
    axes = unit(RNG.normal(size=(50, 3)))
    half = about(axes, np.full(50, np.pi))
    every = np.concatenate([RANDOM, half, np.eye(3)[None]])
    assert np.allclose(matrices(quaternions(every)), every, atol=1e-7)
    assert (quaternions(every)[:, 3] >= 0).all()


def test_the_shortest_arc_turns_one_vector_to_the_other_about_an_axis_across_both():
    start, end = unit(RNG.normal(size=(2, 200, 3)))
    turn = shortest_arc(start, end)
    assert np.allclose(rotated_vectors(turn, start), end)
    across = np.cross(start, end)
    assert np.allclose(rotated_vectors(turn, across), across)


def test_the_shortest_arc_to_the_opposite_vector_is_a_half_turn():
    start = np.array([0.0, 1.0, 0.0])
    turn = shortest_arc(start, -start)
    assert np.allclose(turn @ start, -start)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_half_of_a_rotation_twice_is_the_rotation():
    half = partial(RANDOM, 0.5)
    assert np.allclose(half @ half, RANDOM, atol=1e-6)


def test_kabsch_finds_the_motion_and_ignores_points_of_weight_0():
    points = RNG.normal(size=(5, 3))
    moves = RNG.normal(size=(500, 3))
    targets = rotated_vectors(RANDOM[:, None], points[None]) + moves[:, None]
    targets[:, 4] += 100
    weights = np.ones((500, 5))
    weights[:, 4] = 0
    rotations, found = kabsch(points, targets, weights)
    assert np.allclose(rotations, RANDOM)
    assert np.allclose(found, moves)


def test_kabsch_never_mirrors():
    points = RNG.normal(size=(6, 3))
    rotations, _ = kabsch(points, (points * [-1, 1, 1])[None], np.ones((1, 6)))
    assert np.linalg.det(rotations[0]) == pytest.approx(1)
