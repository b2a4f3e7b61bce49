"""Skeleton layouts: joints, their connections, and graph adjacency matrices.

A layout is a YAML file: either one of `layouts/`, given by its name, or a user's file.
Sizes: V joints, K neighbour subsets.
"""

import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from flag3d_exp.errors import UserError, nearest
from flag3d_exp.names import check_names
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_text, parsed_yaml

LAYOUTS = Path(__file__).parent / "layouts"
MAX_JOINTS, MAX_PAIRS = 1000, 10_000
KEYS = ("joints", "mirror_pairs", "center", "edges", "limbs", "aliases", "places")


@dataclass(frozen=True)
class Layout:
    """A named skeleton; joints are given by their index.

    Args:
        parents: joint where the bone to each joint starts; -1 at the root.
        mirror_pairs: (left, right) joints.
        limbs: pairs of joints between which PoseC3D draws a limb.
        center: joint from which the graph's hops are counted.
        edges: (joint, neighbour towards the centre): the graph. Not always the bones.
        aliases: (another name, joint): names in other programs.
        places: (name, joints): positions on the body that other layouts may have, each at a joint
            or at the mean of several; see `mapping`.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    mirror_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    center: int
    edges: tuple[tuple[int, int], ...]
    aliases: tuple[tuple[str, int], ...] = ()
    places: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def num_joints(self) -> int:
        """Number of joints, V."""
        return len(self.joints)

    @cached_property
    def bones(self) -> np.ndarray:
        """(B, 2) the joint where each bone ends, and the one where it starts."""
        return np.array([(end, start) for end, start in enumerate(self.parents) if start >= 0])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The joints' numbers by normalised name, see `joint_number`.

        Joints whose normalised names are equal are listed by their exact names.
        """
        written = [words(joint) for joint in self.joints]
        found = {words(name): joint for name, joint in self.aliases}
        found |= {name: j for j, name in enumerate(written) if written.count(name) == 1}
        found |= {joint: number for number, joint in enumerate(self.joints)}
        return found | {str(number): number for number in range(self.num_joints)}

    def joint_number(self, name: str) -> int | None:
        """The number of a joint in any spelling: `Left_Eye` and `EyeLeft` are `left eye`."""
        number = self._numbers.get(name)
        return self._numbers.get(words(name)) if number is None else number

    @property
    def mirror_order(self) -> np.ndarray:
        """(V,) permutation that exchanges left and right."""
        order = np.arange(self.num_joints)
        for left, right in self.mirror_pairs:
            order[[left, right]] = right, left
        return order


def load_layout(name: str, key: str = "layout") -> Layout:
    """The shipped layout of that name, or the layout in the YAML file at that path.

    The file maps `joints` to {joint: parent, or null for the root}. Optional keys are
    `mirror_pairs` ([[left, right], ...]), `center` (default: the root), `edges` ({joint:
    neighbour}, if the graph differs from the parents), `limbs` ([[from, to], ...], default: the
    edges), `aliases` ({another name: joint}) and `places` ({name: joint, or joints to average}).
    """
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else LAYOUTS / f"{name}.yaml"
    if not os.path.isfile(path):
        known = sorted(file.stem for file in LAYOUTS.glob("*.yaml"))
        raise UserError(
            f"`{key}` must be one of {', '.join(known)}, or the path of a YAML file; "
            f"got {name!r}.{nearest(name, known)}"
        )
    try:
        return _parsed_layout(path.stem, parsed_yaml(file_text(path)))
    except Malformed as error:
        raise UserError(f"`{key}` file {path} can't be read: {error}.") from error
    except UserError as error:
        raise UserError(f"`{key}` file {path}: {error}") from error


def adjacency(
    layout: Layout,
    mode: Literal["spatial", "stgcn_spatial", "binary_adj"] = "spatial",
    max_hop: int = 1,
) -> np.ndarray:
    """(K, V, V) float32: element [k, v, w] is the weight of source joint v in target joint w.

    spatial: self, towards the centre, away from it, each normalised (K = 3). stgcn_spatial: the
    normalised neighbourhood of `max_hop` hops, partitioned by distance and by which joint is nearer
    to the centre (K = 1 + 2 max_hop; ST-GCN, arXiv 1801.07455). binary_adj: 0 and 1, no self loops.
    """
    num_joints = layout.num_joints
    inward = np.zeros((num_joints, num_joints))
    for joint, neighbour in layout.edges:
        inward[neighbour, joint] = 1
    if mode == "spatial":
        subsets = [np.eye(num_joints), normalised_columns(inward), normalised_columns(inward.T)]
    elif mode == "binary_adj":
        subsets = [inward + inward.T]
    elif mode == "stgcn_spatial":
        hops = hop_distance(inward + inward.T)
        weights = normalised_columns((hops <= max_hop).astype(float))
        to_center = np.minimum(hops[layout.center], max_hop + 1)  # as published: far joints tie
        not_nearer = to_center[:, None] >= to_center[None, :]  # source than target
        subsets = [weights * (hops == 0)]
        for hop in range(1, max_hop + 1):
            subsets += [weights * (hops == hop) * side for side in (not_nearer, ~not_nearer)]
    else:
        accepted = "spatial, stgcn_spatial, binary_adj"
        raise UserError(f"`graph` must be one of {accepted}; got {mode!r}.")
    return np.stack(subsets).astype(np.float32)


def multi_scale(connected: np.ndarray, num_scales: int) -> np.ndarray:
    """(num_scales, V, V) float32: self, then the joints at exactly each hop distance, with self
    loops and normalised columns (MS-G3D, arXiv 2003.14111).

    Args:
        connected: symmetric (V, V) of 0 and 1.
    """
    hops = hop_distance(connected)
    own = np.eye(len(connected))
    scales = [np.maximum(hops == hop, own) for hop in range(num_scales)]
    return normalised_columns(np.stack(scales).astype(float)).astype(np.float32)


def over_window(connected: np.ndarray, num_frames: int) -> np.ndarray:
    """(num_frames * V, num_frames * V): adjacency with self loops, tiled over frame pairs."""
    own = np.eye(len(connected))
    return np.tile(np.maximum(connected, own), (num_frames, num_frames))


def hop_distance(connected: np.ndarray) -> np.ndarray:
    """(V, V) number of hops between joints for a symmetric 0/1 matrix; inf without a path."""
    hops = np.full(connected.shape, np.inf)
    reached = np.eye(len(connected))
    for distance in range(len(connected)):
        hops[(reached > 0) & np.isinf(hops)] = distance
        reached = reached @ connected
    return hops


def normalised_columns(matrix: np.ndarray) -> np.ndarray:
    """The (..., V, V) matrix with each column divided by its sum; empty columns stay 0."""
    total = matrix.sum(-2, keepdims=True)
    return matrix / np.where(total == 0, 1, total)


def _parsed_layout(name: str, content: object) -> Layout:
    """The layout in a YAML file's content."""
    if not isinstance(content, Mapping) or not isinstance(content.get("joints"), Mapping):
        raise UserError("`joints` must map each joint to its parent (null at the root).")
    unknown = [str(key) for key in content if key not in KEYS]
    if unknown:
        raise UserError(f"unknown key `{unknown[0]}`; accepted: {', '.join(KEYS)}.")
    parents_by_name = content["joints"]
    if len(parents_by_name) > MAX_JOINTS:
        raise UserError(f"`joints` must be at most {MAX_JOINTS}; got {len(parents_by_name)}.")
    joints = tuple(str(joint) for joint in parents_by_name)
    check_names(joints, "the name of a joint")
    index = {joint: number for number, joint in enumerate(joints)}

    def number_of(joint: object, key: str) -> int:
        if str(joint) not in index:
            hint = nearest(str(joint), index)
            named = reprlib.repr(joint)
            raise UserError(f"`{key}` names {named}, which is not a joint.{hint}")
        return index[str(joint)]

    def pairs(key: str) -> tuple[tuple[int, int], ...]:
        value = content.get(key) or []
        if not isinstance(value, list) or any(
            not isinstance(pair, list) or len(pair) != 2 for pair in value
        ):
            got = reprlib.repr(value)
            raise UserError(f"`{key}` must be a list of pairs of joints; got {got}.")
        if len(value) > MAX_PAIRS:
            raise UserError(f"`{key}` must be at most {MAX_PAIRS} pairs; got {len(value)}.")
        return tuple((number_of(first, key), number_of(second, key)) for first, second in value)

    parents = tuple(
        -1 if parent is None else number_of(parent, "joints") for parent in parents_by_name.values()
    )
    root = _root(joints, parents)
    neighbours = dict(enumerate(parents))
    given_edges = content.get("edges") or {}
    if not isinstance(given_edges, Mapping):
        got = reprlib.repr(given_edges)
        raise UserError(f"`edges` must map joints to their neighbours; got {got}.")
    for joint, neighbour in given_edges.items():
        neighbours[number_of(joint, "edges")] = (
            -1 if neighbour is None else number_of(neighbour, "edges")
        )
    edges = tuple((joint, other) for joint, other in neighbours.items() if other >= 0)
    center = number_of(content["center"], "center") if "center" in content else root
    mirror_pairs = pairs("mirror_pairs")
    mirrored = [joint for pair in mirror_pairs for joint in pair]
    if len(set(mirrored)) < len(mirrored):
        raise UserError("`mirror_pairs` must name each joint at most once.")
    given_aliases = content.get("aliases") or {}
    if not isinstance(given_aliases, Mapping):
        got = reprlib.repr(given_aliases)
        raise UserError(f"`aliases` must map other names to joints; got {got}.")
    aliases = tuple((str(one), number_of(joint, "aliases")) for one, joint in given_aliases.items())
    given_places = content.get("places") or {}
    if not isinstance(given_places, Mapping):
        got = reprlib.repr(given_places)
        raise UserError(f"`places` must map places to joints; got {got}.")
    places = []
    for place, at in given_places.items():
        several = at if isinstance(at, list) and at else [at]
        places.append((str(place), tuple(number_of(joint, "places") for joint in several)))
    limbs = pairs("limbs") or edges
    return Layout(name, joints, parents, mirror_pairs, limbs, center, edges, aliases, tuple(places))


def words(name: str) -> str:
    """The words of a name in lower case and alphabetical order."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(sorted(re.split(r"[\s_-]+", apart.strip().lower())))


def _root(joints: tuple[str, ...], parents: tuple[int, ...]) -> int:
    """The root; checks that it is the only joint without a parent and that there is no cycle."""
    roots = [joint for joint, parent in enumerate(parents) if parent < 0]
    if len(roots) != 1:
        names = ", ".join(joints[root] for root in roots) or "none"
        raise UserError(f"`joints` must have exactly one joint without a parent; got {names}.")
    for joint in range(len(joints)):
        current = joint
        for _ in joints:
            current = parents[current] if parents[current] >= 0 else current
        if current != roots[0]:
            raise UserError(f"`joints`: the parents of {joints[joint]!r} form a cycle.")
    return roots[0]
