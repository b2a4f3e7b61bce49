"""`task=mesh` as a user runs it."""

import csv
import pickle

import numpy as np
import pytest
from cli import refused, succeeded

from flag3d_exp.data.demo.dataset import make_demo

pytestmark = pytest.mark.slow
MESH = ("task=mesh", "tracking=none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with four recordings in 3D, one of which lacks an arm for some frames."""
    folder = tmp_path_factory.mktemp("mesh")
    for name in ("in_domain", "out_domain"):
        data = make_demo(name)
        kept = [dict(one) for one in data["annotations"][:4]]
        if name == "in_domain":
            keypoint = kept[0]["keypoint"].copy()
            keypoint[:, 5:12, 5] = 0  # an elbow
            kept[0]["keypoint"] = keypoint
            kept[1]["frame_dir"] = "../a name"
        names = [one["frame_dir"] for one in kept]
        content = {"split": {"train": names}, "annotations": kept}
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content))
    return folder


def test_bodies_and_a_page_are_written(folder):
    output = succeeded(folder, *MESH, "task.input=in_domain.pkl", "hydra.run.dir=run")
    assert "left upper arm (7)" in output and "keep their last (else next) known pose" in output
    assert "mm apart" in output and "bodies.html" in output
    with (folder / "run" / "bodies.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 1 <= len(rows) <= 4
    for row in rows:
        content = (folder / "run" / "bodies" / row["file"]).read_bytes()
        assert content[:4] == b"glTF" and int.from_bytes(content[8:12], "little") == len(content)
        assert 0 < float(row["millimetres"]) < 15
    assert {path.name for path in (folder / "run" / "bodies").iterdir()} == {
        row["file"] for row in rows
    }


def test_recordings_are_chosen_by_name(folder):
    given = ("task.input=in_domain.pkl", 'task.recordings=["../a name"]', "hydra.run.dir=named")
    succeeded(folder, *MESH, *given)
    (path,) = (folder / "named" / "bodies").iterdir()
    assert path.name == "001_.._a_name.glb"
    assert "../a name" in (folder / "named" / "bodies.html").read_text()


def test_what_gets_no_body_is_refused_in_a_line(folder):
    line = refused(folder, *MESH, "task.input=out_domain.pkl")
    assert "`task.input`" in line and "is in 2D" in line and "task=lift" in line
    line = refused(folder, *MESH, "task.input=in_domain.pkl", "task.recordings=[x]")
    assert "`task.recordings`" in line and "no recording 'x'" in line
    hands = np.random.default_rng(0).normal(size=(1, 9, 21, 3)).astype(np.float32)
    content = {"split": {"all": ["a"]}, "annotations": [
        {"frame_dir": "a", "label": 0, "total_frames": 9, "keypoint": hands}]}  # fmt: skip
    (folder / "hands.pkl").write_bytes(pickle.dumps(content))
    line = refused(folder, *MESH, "task.input=hands.pkl", "task.layout=handmp")
    assert "`task.input`" in line and "layout handmp has no left shoulder" in line
    np.savez(folder / "other.npz", v_template=np.zeros(3))
    line = refused(folder, *MESH, "task.input=in_domain.pkl", "task.body=other.npz")
    assert "`task.body`" in line and "is no file of SMPL" in line
