"""Making the stored body from MakeHuman's files: here from a few points in the same format."""

import gzip
import json

import numpy as np
import pytest

from flag3d_exp.bodies.body import BONES, NUMBER, PLACES
from flag3d_exp.bodies.makehuman import (
    ANCESTRIES,
    GENDERS,
    RIG,
    SHOWN,
    STEP,
    makehuman_arrays,
)

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    """A mesh of cubes: one for each joint and three for the groups that are shown."""
    names = [name for merged in RIG.values() for name in merged]
    fingers = [f"joint-{side}-finger-{finger}-4" for side in "lr" for finger in (1, 3)]
    groups = [*SHOWN, *fingers, *(f"joint-{name}" for name in names),
              *(f"joint-{name}-tail" for name in names)]  # fmt: skip
    lines = []
    for number, name in enumerate(groups):
        places = RNG.uniform(-8, 8, 3) + RNG.uniform(-0.1, 0.1, (4, 3))
        if name == "body":  # above the head's bone
            places[:, 1] += 20
        lines += [f"v {x} {y} {z}" for x, y, z in places] + [f"g {name}"]
        corners = " ".join(f"{4 * number + corner}/1" for corner in range(1, 5))
        lines.append(f"f {corners}")
    (tmp_path / "3dobjs").mkdir()
    (tmp_path / "3dobjs" / "base.obj").write_text("\n".join(lines))
    targets = tmp_path / "targets" / "macrodetails"
    targets.mkdir(parents=True)
    for number, (ancestry, gender) in enumerate((a, g) for a in ANCESTRIES for g in GENDERS):
        change = f"# a comment\n0 {number} 0 0\n"
        (targets / f"{ancestry}-{gender}-young.target.gz").write_bytes(
            gzip.compress(change.encode())
        )
    rigs = tmp_path / "rigs" / "standard"
    rigs.mkdir(parents=True)
    rig = {}
    for name in names:
        ends = {"head": f"joint-{name}", "tail": f"joint-{name}-tail"}
        rig[name] = {end: {"cube_name": cube} for end, cube in ends.items()}
    (rigs / "rig.cmu_mb.json").write_text(json.dumps(rig))
    weights = {name: [] for name in names}
    weights["LeftArm"] = [[0, 0.6], [1, 1.0]]
    weights["LeftShoulder"] = [[0, 0.2]]
    weights["Hips"], weights["LHipJoint"] = [[2, 0.5], [3, 1.0]], [[2, 0.5]]
    (rigs / "weights.cmu_mb.json").write_text(json.dumps({"weights": weights}))
    return tmp_path, lines


def test_points_are_moved_by_the_mean_of_the_targets(folder):
    path, lines = folder
    made = makehuman_arrays(path)
    points = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float) / 10
    expected = points[: 4 * len(SHOWN)].copy()
    expected[0, 0] += 0.1 * np.mean(range(6))
    assert np.abs(made["vertices"] * STEP - expected).max() < STEP
    assert made["squares"].tolist() == np.arange(4 * len(SHOWN)).reshape(-1, 4).tolist()


def test_weights_of_merged_bones_add_up_and_points_without_weight_are_of_the_head(folder):
    made = makehuman_arrays(folder[0])
    shares = np.zeros((len(made["vertices"]), len(BONES)))
    np.add.at(shares, (np.arange(len(shares))[:, None], made["influences"]), made["weights"] / 255)
    assert shares[0, NUMBER["left upper arm"]] == pytest.approx(0.75, abs=0.01)
    assert shares[0, NUMBER["left clavicle"]] == pytest.approx(0.25, abs=0.01)
    assert shares[2, NUMBER["pelvis"]] == 1
    assert shares[10, NUMBER["head"]] == 1


def test_bones_start_in_the_middle_of_their_cubes(folder):
    path, lines = folder
    made = makehuman_arrays(path)
    at = lines.index("g joint-LeftForeArm")
    cube = np.array([line.split()[1:] for line in lines[at - 4 : at]], float)
    assert np.allclose(made["heads"][NUMBER["left forearm"]], cube.mean(0) / 10, atol=1e-6)
    assert np.array_equal(made["places"][list(PLACES).index("left elbow")],
                          made["heads"][NUMBER["left forearm"]])  # fmt: skip
