"""Write moving bodies as glTF 2.0 in one binary file (.glb).

Each person is a mesh at rest and a skin: a node per bone, which an animation turns. Any program
that plays skinned meshes, such as Blender, shows it. The specification is Khronos's, ISO/IEC 12113.

Sizes: N vertices, F triangles, R bones and helpers, T frames, K bones per vertex.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flag3d_exp.bodies.moving import MovingBody
from flag3d_exp.bodies.rotations import quaternions
from flag3d_exp.bodies.skinning import NAMES, PARENTS

MAGIC, VERSION = 0x46546C67, 2
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
FLOAT, BYTE, SHORT, INTEGER = 5126, 5121, 5123, 5125  # types of components, all unsigned
ATTRIBUTES, INDICES = 34962, 34963  # targets of buffer views
FULL = 65535  # a weight of 1 as a 16-bit integer
COLOURS = ((0.32, 0.47, 0.64), (0.72, 0.42, 0.26), (0.35, 0.55, 0.38), (0.55, 0.42, 0.6))


def glb(people: Sequence[MovingBody], frame_rate: float, copyright_notice: str = "") -> bytes:
    """The file of all persons of a recording, one animation for all.

    Args:
        people: of the same number of frames.
        frame_rate: frames per second.
        copyright_notice: of the body, for the file's header.
    """
    file = _File()
    times = np.arange(people[0].num_frames, dtype=np.float32) / np.float32(frame_rate)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    clock = file.accessor(times, "SCALAR", bounds=True)
    nodes: list[dict[str, Any]] = []
    meshes, skins, roots, materials = [], [], [], []
    for number, person in enumerate(people):
        first = len(nodes)
        nodes += joint_nodes(person, first)
        colour = COLOURS[number % len(COLOURS)]
        materials.append(
            {
                "name": f"person {number}",
                "pbrMetallicRoughness": {
                    "baseColorFactor": [*colour, 1.0],
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.8,
                },
            }
        )
        meshes.append({"name": f"person {number}", "primitives": [file.primitive(person, number)]})
        matrices = np.tile(np.eye(4, dtype=np.float32), (len(NAMES), 1, 1))
        matrices[:, 3, :3] = -person.heads  # stored column by column
        joints = list(range(first, first + len(NAMES)))
        skin = {"inverseBindMatrices": file.accessor(matrices, "MAT4"), "joints": joints,
                "skeleton": first}  # fmt: skip
        skins.append(skin)
        roots += [first, len(nodes)]
        nodes.append({"name": f"person {number}", "mesh": number, "skin": number})
        turns, moves = local_pose(person)
        paths = [("rotation", "VEC4", bone, turns[:, bone]) for bone in range(len(NAMES))]
        paths += [("translation", "VEC3", bone, places) for bone, places in moves.items()]
        for path, kind, bone, values in paths:
            output = file.accessor(values.astype(np.float32), kind)
            channels.append(
                {"sampler": len(samplers), "target": {"node": first + bone, "path": path}}
            )
            samplers.append({"input": clock, "output": output, "interpolation": "LINEAR"})
    content = {
        "asset": {
            "version": "2.0",
            "generator": "flag3d_exp",
            **({"copyright": copyright_notice} if copyright_notice else {}),
        },
        "scene": 0,
        "scenes": [{"nodes": roots}],
        "nodes": nodes,
        "meshes": meshes,
        "materials": materials,
        "skins": skins,
        "animations": [{"name": "recording", "samplers": samplers, "channels": channels}],
        "accessors": file.accessors,
        "bufferViews": file.views,
        "buffers": [{"byteLength": len(file.data)}],
    }
    return chunks(content, bytes(file.data))


def joint_nodes(person: MovingBody, first: int) -> list[dict[str, Any]]:
    """The nodes of the bones and helpers in the rest pose, numbered from `first`."""
    nodes = []
    for bone, (name, parent) in enumerate(zip(NAMES, PARENTS, strict=True)):
        start = person.heads[bone] - (person.heads[parent] if parent >= 0 else 0)
        node: dict[str, Any] = {"name": name, "translation": [round(float(x), 6) for x in start]}
        children = [first + other for other, above in enumerate(PARENTS) if above == bone]
        nodes.append(node | ({"children": children} if children else {}))
    return nodes


def local_pose(person: MovingBody) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Quaternions (T, R, 4) relative to the parents, and places (T, 3) of bones that also move.

    Quaternions of successive frames have the same sign, so that players interpolate the short way.
    """
    turns = person.rotations.copy()
    moves = {}
    for bone, parent in enumerate(PARENTS):
        if parent < 0:
            moves[bone] = person.positions[:, bone]
            continue
        back = np.swapaxes(person.rotations[:, parent], -1, -2)
        turns[:, bone] = back @ person.rotations[:, bone]
        offset = person.positions[:, bone] - person.positions[:, parent]
        local = (back @ offset[..., None])[..., 0]
        if np.abs(local - (person.heads[bone] - person.heads[parent])).max() > 1e-5:
            moves[bone] = local
    found = quaternions(turns)
    flips = np.sign((found[1:] * found[:-1]).sum(-1, keepdims=True))
    found[1:] *= np.cumprod(np.where(flips == 0, 1, flips), axis=0)
    return found, moves


def whole_weights(weights: np.ndarray, full: int) -> np.ndarray:
    """(N, K) weights as integers, whose sum is exactly `full`, which is a weight of 1."""
    found = np.rint(weights * full).astype(np.int64)
    found[:, 0] += full - found.sum(1)  # the first weight is the largest
    return found


def chunks(content: dict[str, Any], binary: bytes) -> bytes:
    """The bytes of a .glb file: a header, the JSON chunk and the binary chunk."""
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    header = struct.pack("<III", MAGIC, VERSION, total)
    parts = (struct.pack("<II", len(text), JSON_CHUNK), text)
    return b"".join([header, *parts, struct.pack("<II", len(binary), BINARY_CHUNK), binary])


@dataclass
class _File:
    """The binary buffer while it is filled, and the descriptions of its parts."""

    data: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def accessor(
        self,
        values: np.ndarray,
        kind: str,
        target: int | None = None,
        bounds: bool = False,
        normalised: bool = False,
    ) -> int:
        """The number of a new accessor of an array, which is stored after the others."""
        types = {"f4": FLOAT, "u1": BYTE, "u2": SHORT, "u4": INTEGER}
        self.data += b"\0" * (-len(self.data) % 4)
        raw = np.ascontiguousarray(values).tobytes()
        view: dict[str, Any] = {
            "buffer": 0,
            "byteOffset": len(self.data),
            "byteLength": len(raw),
        }
        self.views.append(view | ({"target": target} if target else {}))
        self.data += raw
        flat = values.reshape(len(values), -1)
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": types[values.dtype.str[1:]],
            "count": len(values),
            "type": kind,
        }
        if normalised:
            accessor["normalized"] = True
        if bounds:
            accessor |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def primitive(self, person: MovingBody, material: int) -> dict[str, Any]:
        """The mesh of a person at rest."""
        small = len(person.vertices) < FULL
        triangles = person.triangles.reshape(-1).astype(np.uint16 if small else np.uint32)
        vertices, normals = person.vertices, person.normals
        weights = whole_weights(person.skin.weights, FULL)
        influences = np.where(weights > 0, person.skin.influences, 0)  # as the specification asks
        attributes = {
            "POSITION": self.accessor(vertices.astype(np.float32), "VEC3", ATTRIBUTES, bounds=True),
            "NORMAL": self.accessor(normals.astype(np.float32), "VEC3", ATTRIBUTES),
            "JOINTS_0": self.accessor(influences.astype(np.uint8), "VEC4", ATTRIBUTES),
            "WEIGHTS_0": self.accessor(
                weights.astype(np.uint16), "VEC4", ATTRIBUTES, normalised=True
            ),
        }
        indices = self.accessor(triangles, "SCALAR", INDICES)
        return {"attributes": attributes, "indices": indices, "material": material}
