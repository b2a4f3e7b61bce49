"""The page that plays skeletons and bodies."""

import base64
import json
import re

import numpy as np
import pytest
from made_up_bodies import keypoints_of, made_up

from flag3d_exp.bodies.body import stored_body
from flag3d_exp.bodies.moving import moving_bodies
from flag3d_exp.bodies.rotations import matrices
from flag3d_exp.bodies.skinning import PARENTS, skin
from flag3d_exp.data.annotations import Recording
from flag3d_exp.report.bodies import MAX_FRAMES, ShownBodies, bodies_page
from flag3d_exp.skeletons.layout import load_layout

BODY, LAYOUT = stored_body(), load_layout("nturgb+d")


@pytest.fixture(scope="module")
def shown():
    """A recording of 500 frames, whose second person is never seen."""
    keypoints = keypoints_of(made_up(BODY, num_frames=500).joints, LAYOUT)
    keypoints = np.concatenate([keypoints, 0 * keypoints])
    keypoints[0, 0, 3] = 0
    people = moving_bodies(keypoints, None, LAYOUT, BODY, 1)
    return ShownBodies(Recording("a </script><b>", 0, keypoints), people, 1, 1.0)


@pytest.fixture(scope="module")
def page(shown):
    return bodies_page([shown], LAYOUT, 30)


def data_of(page):
    return json.loads(re.search(r"^const DATA = (.*);$", page, re.MULTILINE)[1])


def numbers(text, kind, width):
    return np.frombuffer(base64.b64decode(text), kind).reshape(-1, width)


def test_the_page_needs_nothing_else_and_a_name_ends_no_script(page):
    assert page.count("</script>") == 1 and "<b>" not in page.split("<script>")[1]
    assert not re.search(r"https?://|src=|<link|import\(|fetch\(|XMLHttp", page)
    assert data_of(page)["recordings"][0]["title"] == "a </script><b>"


def test_long_recordings_are_subsampled_and_missing_joints_are_0(page):
    (one,) = data_of(page)["recordings"]
    assert len(one["frames"]) == 167 <= MAX_FRAMES and (one["stride"], one["length"]) == (3, 500)
    first, second = one["frames"][0]
    assert first[3] == 0 and set(map(str, second)) == {"0"}
    assert all(abs(value) <= 500 for joint in first if joint for value in joint)
    assert [person["number"] for person in one["people"]] == [0]


def test_the_numbers_of_the_page_give_the_vertices(page, shown):
    data = data_of(page)
    (person,) = data["recordings"][0]["people"]
    vertices = numbers(person["vertices"], "<i2", 3) * person["step"]
    influences = numbers(data["influences"], np.uint8, 4)
    weights = numbers(data["weights"], np.uint8, 4).astype(int)
    assert (weights.sum(1) == 255).all() and data["parents"] == list(PARENTS)
    frame, heads = 50, np.array(person["heads"])
    turns = numbers(person["turns"], "<i2", 4).reshape(-1, len(PARENTS), 4)[frame] / 32767
    moves = numbers(person["moves"], "<f4", 3).reshape(-1, len(person["moving"]), 3)[frame]
    world, starts = [], []
    for bone, parent in enumerate(PARENTS):
        own = matrices(turns[bone])
        if bone in person["moving"]:
            start = moves[person["moving"].index(bone)]
        else:
            start = heads[bone] - heads[parent]
        world.append(own if parent < 0 else world[parent] @ own)
        starts.append(start if parent < 0 else starts[parent] + world[parent] @ start)
    rotations, places = np.array(world)[influences], np.array(starts)[influences]
    offsets = vertices[:, None] - heads[influences]
    moved = (rotations @ offsets[..., None])[..., 0] + places
    found = (weights[..., None] / 255 * moved).sum(1)
    expected = shown.people[0].posed_vertices(frame * 3)
    assert np.abs(found - expected).max() < 0.002
    assert np.array_equal(influences, skin(BODY).influences)
    triangles = numbers(data["triangles"], "<u2", 3)
    assert np.array_equal(triangles, BODY.triangles)
