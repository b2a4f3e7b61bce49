"""`task=lift` as a user runs it: 2D in, 3D out, which every other task reads."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from cli import TINY, refused, succeeded

from flag3d_exp.data.annotations import read_annotations
from flag3d_exp.data.demo.dataset import make_demo

pytestmark = pytest.mark.slow
QUICK = ("tracking=none", "device=cpu", "device.jit=false")
LIFT = ("task=lift", "task.checkpoint=run", *QUICK)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A working folder with a tiny run in `run`, and recordings in 2D and in 3D."""
    folder = tmp_path_factory.mktemp("lift")
    settings = ("problem=lift", "model=videopose", "model.channels=8", "dataset.clip_len=8")
    seen = "problem.camera.layout=coco"
    succeeded(folder, *TINY[-3:], *settings, seen, "task.epochs=1", "tracking=none",
              "hydra.run.dir=run")  # fmt: skip
    for name in ("in_domain", "out_domain"):
        data = make_demo(name)
        chosen = data["split"]["train"][:4]
        kept = [one for one in data["annotations"] if one["frame_dir"] in chosen]
        content = {"split": {"train": chosen[:3], "val": chosen[3:]}, "annotations": kept}
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(content))
    return folder


def test_a_dataset_in_2d_becomes_one_in_3d_that_a_network_is_trained_on(trained):
    output = succeeded(trained, *LIFT, "task.input=out_domain.pkl", "hydra.run.dir=lifted")
    assert "4 recordings in 3D" in output
    before, flat = read_annotations(trained / "out_domain.pkl")
    after, solid = read_annotations(trained / "lifted" / "lifted.pkl")
    assert after == before
    for one, made in zip(flat, solid, strict=True):
        assert (made.name, made.label, made.subject) == (one.name, one.label, one.subject)
        assert made.keypoints.shape == (*one.keypoints.shape[:2], 25, 3)
        assert np.isfinite(made.keypoints).all()
    command = output.strip().splitlines()[-1].split("flag3d_exp ")[1].replace("'", "").split()
    assert "viewer.html" in succeeded(trained, *command, "tracking=none", "hydra.run.dir=looked")
    again = succeeded(trained, *TINY, *command[1:], "task.epochs=1", "dataset.normalise=body",
                      "tracking=none", "hydra.run.dir=again")  # fmt: skip
    assert "top1" in again


def test_lifting_twice_gives_the_same_file(trained):
    for name in ("first", "second"):
        given = ("task.input=out_domain.pkl", f"task.output={name}.pkl", f"hydra.run.dir={name}")
        succeeded(trained, *LIFT, *given)
    assert (trained / "first.pkl").read_bytes() == (trained / "second.pkl").read_bytes()


def test_bodies_are_put_over_the_lifted_joints(trained):
    given = ("task.input=out_domain.pkl", "task.mesh=true", "task.mesh_count=2")
    output = succeeded(trained, *LIFT, *given, "hydra.run.dir=bodies")
    assert "2 bodies in" in output and "bodies.html" in output
    names = [one.name for one in read_annotations(trained / "bodies" / "lifted.pkl")[1]]
    page = (trained / "bodies" / "bodies.html").read_text()
    assert sum(name in page for name in names) == 2
    for path in (trained / "bodies" / "bodies").iterdir():
        assert path.suffix == ".glb" and path.read_bytes()[:4] == b"glTF"
    assert len(list((trained / "bodies" / "bodies").iterdir())) == 2
    line = refused(trained, *LIFT, *given, "task.mesh_body=out_domain.pkl")
    assert "`task.mesh_body`" in line and "no file of SMPL" in line


def test_what_can_not_be_lifted_is_refused_in_a_line(trained):
    line = refused(trained, *LIFT, "task.input=in_domain.pkl")
    assert "task.input" in line and "in 3D already" in line
    line = refused(trained, *LIFT, "task.input=nowhere.pkl")
    assert "`task.input`: nowhere.pkl is not there" in line
    line = refused(trained, *LIFT, "task.input=out_domain.pkl", "task.output=out_domain.pkl")
    assert "another file" in line
    line = refused(trained, *LIFT, "task.input=out_domain.pkl", "task.layout=handmp")
    assert "handmp" in line
    succeeded(trained, *TINY, "task.epochs=1", "tracking=none", "hydra.run.dir=classes")
    line = refused(trained, "task=lift", "task.checkpoint=classes", *QUICK, "task.input=x.pkl")
    assert "problem=lift" in line and "problem=classify" in line
