"""The stored body."""

import numpy as np

from flag3d_exp.bodies.body import BONES, PARENT, PLACES, STORED, stored_body
from flag3d_exp.bodies.skinning import MAX_BONES, NAMES, normals, skin

BODY = stored_body()


def test_it_is_small_and_comes_with_its_licence():
    assert STORED.stat().st_size < 200_000
    assert "CC0 1.0 Universal" in STORED.with_suffix(".LICENSE.md").read_text()


def test_it_stands_upright_and_looks_along_z_with_its_left_at_positive_x():
    low, high = BODY.vertices.min(0), BODY.vertices.max(0)
    assert 1.5 < high[1] - low[1] < 1.8
    assert BODY.place("head")[1] > BODY.place("neck")[1] > BODY.place("base of spine")[1]
    assert BODY.place("nose")[2] > BODY.place("head")[2] + 0.05
    assert BODY.place("left hip")[0] > 0 > BODY.place("right hip")[0]
    assert BODY.place("left foot")[2] > BODY.place("left ankle")[2]


def test_it_is_symmetric():
    for place in PLACES:
        if "left" in place:
            mirrored = BODY.place(place.replace("left", "right")) * [-1, 1, 1]
            assert np.abs(BODY.place(place) - mirrored).max() < 0.002, place


def test_its_triangles_name_vertices_and_look_outwards():
    assert BODY.triangles.min() == 0 and BODY.triangles.max() == len(BODY.vertices) - 1
    a, b, c = (BODY.vertices[BODY.triangles[:, corner]].astype(float) for corner in range(3))
    volume = (a * np.cross(b, c)).sum() / 6  # positive if the triangles look outwards
    assert 0.04 < volume < 0.1  # cubic metres
    found = normals(BODY.vertices, BODY.triangles)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_parents_come_before_their_bones():
    assert len(BODY.heads) == len(BONES) and len(BODY.places) == len(PLACES)
    assert all(parent < bone for bone, parent in enumerate(PARENT))


def test_weights_add_up_to_1_with_and_without_helpers():
    assert np.allclose(BODY.shares.sum(1), 1, atol=1e-5)
    made = skin(BODY)
    assert made.influences.shape == (len(BODY.vertices), MAX_BONES)
    assert np.allclose(made.weights.sum(1), 1, atol=1e-5) and made.weights.min() >= 0
    assert made.dense.shape == (len(NAMES), len(BODY.vertices))
    rows = np.arange(len(BODY.vertices))[:, None]
    assert np.array_equal(made.dense.T[rows, made.influences], made.weights)
