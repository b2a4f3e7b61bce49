"""Layouts and their graphs."""

import json

import numpy as np
import pytest

from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import (
    LAYOUTS,
    adjacency,
    hop_distance,
    load_layout,
    multi_scale,
    over_window,
)

CHAIN = """\
joints: {hip: null, left knee: hip, right knee: hip, toe: left knee}
mirror_pairs: [[left knee, right knee]]
"""


@pytest.fixture
def chain(tmp_path):
    path = tmp_path / "chain.yaml"
    path.write_text(CHAIN)
    return load_layout(str(path))


@pytest.mark.parametrize("name", ["nturgb+d", "coco", "openpose", "handmp"])
def test_layouts_equal_the_reference(shared, name):
    layout = load_layout(name)
    text = (shared / "parity/graphs.json").read_text(encoding="utf-8")
    expected = json.loads(text)["layouts"][name]
    bones = [(joint, max(parent, 0)) for joint, parent in enumerate(layout.parents)]
    root = layout.parents.index(-1)
    bones[root] = (root, root)
    assert list(layout.joints) == expected["joints"]
    assert layout.center == expected["center"]
    assert set(layout.edges) == {tuple(edge) for edge in expected["edges_inward"]}
    assert set(bones) == {tuple(bone) for bone in expected["bone_pairs"]}
    if "left_joints" in expected:
        pairs = zip(expected["left_joints"], expected["right_joints"], strict=True)
        assert set(layout.mirror_pairs) == set(pairs)
    if "posec3d_limbs" in expected:
        assert [list(limb) for limb in layout.limbs] == expected["posec3d_limbs"]["limbs"]


@pytest.mark.parametrize("name", ["nturgb+d", "coco", "openpose", "handmp"])
@pytest.mark.parametrize("mode", ["spatial", "stgcn_spatial", "binary_adj"])
def test_adjacency_equals_the_reference(shared, name, mode):
    graphs = np.load(shared / "parity/graphs.npz")
    layout = load_layout(name)
    np.testing.assert_allclose(adjacency(layout, mode), graphs[f"{name}/{mode}"], atol=1e-7)


def test_two_hops_equal_the_reference(shared):
    graphs = np.load(shared / "parity/graphs.npz")
    layout = load_layout("coco")
    two_hops = adjacency(layout, "stgcn_spatial", max_hop=2)
    np.testing.assert_allclose(two_hops, graphs["coco/stgcn_spatial_hop2"], atol=1e-7)


@pytest.mark.parametrize("name", ["nturgb+d", "coco"])
def test_multi_scale_graphs_equal_the_reference(shared, name):
    graphs = np.load(shared / "parity/graphs.npz")
    connected = adjacency(load_layout(name), "binary_adj")[0]
    np.testing.assert_allclose(
        multi_scale(connected, 13), graphs[f"{name}/msg3d_13_scales"], atol=1e-7
    )
    for window in (3, 5):
        np.testing.assert_allclose(
            multi_scale(over_window(connected, window), 6),
            graphs[f"{name}/msg3d_6_scales_window{window}"],
            atol=1e-7,
        )


def test_adjacency_of_a_chain_worked_out_by_hand(chain):
    own, inward, outward = adjacency(chain, "spatial")
    np.testing.assert_array_equal(own, np.eye(4))
    np.testing.assert_array_equal(  # columns are targets: each joint receives from its parent
        inward, [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(  # the hip receives the mean of both knees
        outward, [[0, 0, 0, 0], [0.5, 0, 0, 0], [0.5, 0, 0, 0], [0, 1, 0, 0]]
    )


def test_hops_count_the_shortest_way_and_unconnected_joints_are_infinitely_far():
    connected = np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    assert hop_distance(connected)[0].tolist() == [0, 1, 2, np.inf]


def test_a_users_layout_has_defaults_for_centre_graph_and_limbs(chain):
    assert chain.name == "chain"
    assert chain.parents == (-1, 0, 0, 1)
    assert chain.center == 0
    assert chain.edges == chain.limbs == ((1, 0), (2, 0), (3, 1))
    assert chain.mirror_order.tolist() == [0, 2, 1, 3]


@pytest.mark.parametrize("path", sorted(LAYOUTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_mirroring_twice_changes_nothing(path):
    order = load_layout(path.stem).mirror_order
    assert order[order].tolist() == list(range(len(order)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joints: [a, b]", "`joints` must map each joint"),
        ("joints: {a: null, b: null}", "exactly one joint without a parent; got a, b"),
        ("joints: {a: null, b: c, c: b}", "the parents of 'b' form a cycle"),
        ("joints: {a: null, b: aa}", "names 'aa', which is not a joint"),
        ("joints: {a: null, b: a, b: a}", "'b' stands twice"),
        ("joints: {a: null}\nmirror: []", "unknown key `mirror`"),
        ("joints: {a: null}\nmirror_pairs: [[a]]", "`mirror_pairs` must be a list of pairs"),
        ("joints: {a: null}\nmirror_pairs: [[a, a]]", "at most once"),
        ("joints: {a: null}\naliases: {b: c}", "`aliases` names 'c', which is not a joint"),
        ("joints: {a: null}\nplaces: {b: c}", "`places` names 'c', which is not a joint"),
        ("joints: {a: null}\nplaces: [b]", "`places` must map places to joints"),
        ("joints: {a: null}\naliases: [b]", "`aliases` must map other names to joints"),
        ("joints: {a: null", "can't be read"),
    ],
)
def test_a_faulty_layout_is_refused_with_its_path(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message.replace("[", r"\[")) as raised:
        load_layout(str(path))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


KINECT = """
    SpineBase SpineMid Neck Head ShoulderLeft ElbowLeft WristLeft HandLeft ShoulderRight ElbowRight
    WristRight HandRight HipLeft KneeLeft AnkleLeft FootLeft HipRight KneeRight AnkleRight FootRight
    SpineShoulder HandTipLeft ThumbLeft HandTipRight ThumbRight
"""


def test_the_names_of_the_kinect_sdk_are_those_of_its_joints():
    layout = load_layout("nturgb+d")
    assert [layout.joint_number(name) for name in KINECT.split()] == list(range(25))
    assert layout.joint_number("left_hand_tip") == 21
    assert layout.joint_number("hand") is None


def test_an_unknown_layout_lists_the_known_ones():
    with pytest.raises(
        UserError, match="coco, coco_20, h36m, halpe26, handmp, kinect20, mediapipe, nturgb"
    ):
        load_layout("koko")


def test_an_unknown_graph_lists_the_known_ones(chain):
    with pytest.raises(UserError, match="spatial, stgcn_spatial, binary_adj"):
        adjacency(chain, "uniform")
