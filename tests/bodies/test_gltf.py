"""The .glb file: its structure is that of the specification, and it holds the body's poses."""

import json
import struct

import numpy as np
import pytest
from made_up_bodies import made_up

from flag3d_exp.bodies.body import stored_body
from flag3d_exp.bodies.gltf import glb
from flag3d_exp.bodies.rotations import matrices
from flag3d_exp.bodies.skinning import NAMES

BODY = stored_body()
TYPES = {5126: "<f4", 5121: "<u1", 5123: "<u2", 5125: "<u4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Parsed:
    """A .glb file, read by its specification alone."""

    def __init__(self, content: bytes) -> None:
        magic, version, length = struct.unpack_from("<4sII", content)
        assert (magic, version, length) == (b"glTF", 2, len(content))
        size, kind = struct.unpack_from("<I4s", content, 12)
        assert kind == b"JSON" and size % 4 == 0
        self.json = json.loads(content[20 : 20 + size])
        rest, kind = struct.unpack_from("<I4s", content, 20 + size)
        assert kind == b"BIN\0" and rest % 4 == 0
        self.binary = content[28 + size :]
        assert len(self.binary) == rest
        assert 0 <= rest - self.json["buffers"][0]["byteLength"] < 4

    def array(self, number: int) -> np.ndarray:
        accessor = self.json["accessors"][number]
        view = self.json["bufferViews"][accessor["bufferView"]]
        kind, width = np.dtype(TYPES[accessor["componentType"]]), WIDTHS[accessor["type"]]
        assert view["byteLength"] == accessor["count"] * width * kind.itemsize
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= len(self.binary)
        flat = np.frombuffer(self.binary, kind, accessor["count"] * width, view["byteOffset"])
        return flat.reshape(accessor["count"], width)

    def globals(self, frame: int) -> dict[int, np.ndarray]:
        """(4, 4) of each node in a frame of the animation."""
        (animation,) = self.json["animations"]
        local = {}
        for number, node in enumerate(self.json["nodes"]):
            local[number] = {"translation": np.array(node.get("translation", [0, 0, 0])),
                             "rotation": np.array([0, 0, 0, 1.0])}  # fmt: skip
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            values = self.array(sampler["output"])
            assert len(values) == len(self.array(sampler["input"]))
            local[channel["target"]["node"]][channel["target"]["path"]] = values[frame]
        found = {}

        def descend(number: int, above: np.ndarray) -> None:
            own = np.eye(4)
            own[:3, :3] = matrices(local[number]["rotation"])
            own[:3, 3] = local[number]["translation"]
            found[number] = above @ own
            for child in self.json["nodes"][number].get("children", []):
                descend(child, found[number])

        for root in self.json["scenes"][self.json["scene"]]["nodes"]:
            descend(root, np.eye(4))
        return found

    def posed(self, person: int, frame: int) -> np.ndarray:
        """(N, 3) vertices of a skinned mesh, as the specification says."""
        nodes = [node for node in self.json["nodes"] if "skin" in node]
        mesh = self.json["meshes"][nodes[person]["mesh"]]["primitives"][0]
        skin = self.json["skins"][nodes[person]["skin"]]
        bind = self.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
        world = self.globals(frame)
        joints = np.stack([world[node] @ own
                           for node, own in zip(skin["joints"], bind, strict=True)])  # fmt: skip
        places = self.array(mesh["attributes"]["POSITION"])
        weights = self.array(mesh["attributes"]["WEIGHTS_0"]) / 65535
        moved = joints[self.array(mesh["attributes"]["JOINTS_0"])]  # (N, 4, 4, 4)
        blended = (weights[..., None, None] * moved).sum(1)
        return (blended[:, :3, :3] @ places[..., None])[..., 0] + blended[:, :3, 3]


@pytest.fixture(scope="module")
def people():
    return [made_up(BODY, 5, seed).body for seed in (0, 1)]


@pytest.fixture(scope="module")
def parsed(people):
    return Parsed(glb(people, 30, "Body: CC0"))


def test_reading_the_file_gives_the_vertices_of_every_frame(parsed, people):
    for number, person in enumerate(people):
        for frame in (0, 4):
            off = np.linalg.norm(parsed.posed(number, frame) - person.posed_vertices(frame), axis=1)
            assert off.max() < 1e-4


def test_bounds_are_those_of_the_arrays(parsed):
    bounded = 0
    for number, accessor in enumerate(parsed.json["accessors"]):
        values = parsed.array(number)
        if "min" in accessor:
            bounded += 1
            assert values.min(0).tolist() == accessor["min"]
            assert values.max(0).tolist() == accessor["max"]
    assert bounded == 3  # the times, and the places of two meshes


def test_weights_add_up_and_joints_without_weight_are_0(parsed):
    attributes = parsed.json["meshes"][0]["primitives"][0]["attributes"]
    weights = parsed.array(attributes["WEIGHTS_0"]).astype(int)
    joints = parsed.array(attributes["JOINTS_0"])
    assert (weights.sum(1) == 65535).all()
    assert (joints[weights == 0] == 0).all() and joints.max() < len(NAMES)
    indices = parsed.array(parsed.json["meshes"][0]["primitives"][0]["indices"])
    assert indices.max() == len(weights) - 1 and len(indices) == 3 * len(BODY.triangles)


def test_times_and_turns_can_be_interpolated(parsed):
    (animation,) = parsed.json["animations"]
    times = parsed.array(animation["samplers"][0]["input"])[:, 0]
    assert np.allclose(times, np.arange(5) / 30)
    for channel in animation["channels"]:
        if channel["target"]["path"] == "rotation":
            turns = parsed.array(animation["samplers"][channel["sampler"]]["output"])
            assert np.allclose(np.linalg.norm(turns, axis=1), 1, atol=1e-5)
            assert ((turns[1:] * turns[:-1]).sum(1) > 0).all()


def test_every_node_has_one_parent_and_a_name(parsed):
    nodes = parsed.json["nodes"]
    children = [child for node in nodes for child in node.get("children", [])]
    roots = parsed.json["scenes"][0]["nodes"]
    assert sorted(children + roots) == list(range(len(nodes)))
    assert all(node["name"] for node in nodes)
    assert parsed.json["asset"]["version"] == "2.0"
    assert parsed.json["asset"]["copyright"] == "Body: CC0"
