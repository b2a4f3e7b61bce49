"""`task=fidelity` as a user runs it: generated files and a recogniser in, a page out."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from cli import TINY, metrics, refused, succeeded

from flag3d_exp.data.demo.dataset import make_demo

pytestmark = pytest.mark.slow
QUICK = ("tracking=none", "device=cpu", "device.jit=false")
FIDELITY = ("task=fidelity", "task.checkpoint=recogniser", *QUICK)


def write(path: Path, real: list[dict], noise: float = 0.0, generated: bool = True) -> None:
    """An annotation file with these recordings, marked as generated."""
    rng = np.random.default_rng(0)
    made = []
    for one in real:
        keypoint = one["keypoint"] + noise * rng.standard_normal(one["keypoint"].shape)
        made.append(one | {"keypoint": keypoint.astype(np.float32), "generated": generated})
    names = [one["frame_dir"] for one in made]
    path.write_bytes(pickle.dumps({"split": {"generated": names}, "annotations": made}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A working folder with a tiny recogniser, copies of training recordings, and noisy ones."""
    made = tmp_path_factory.mktemp("fidelity")
    demo = make_demo("in_domain")
    named = {one["frame_dir"]: one for one in demo["annotations"]}
    split = {"train": demo["split"]["train"][::7], "val": demo["split"]["val"][::6]}
    known = [named[name] for names in split.values() for name in names]
    (made / "demo.pkl").write_bytes(pickle.dumps({"split": split, "annotations": known}))
    settings = ("dataset.path=demo.pkl", "task.epochs=1", "tracking=none")
    succeeded(made, *TINY, *settings, "hydra.run.dir=recogniser")
    train = [named[name] for name in split["train"][::2]]
    write(made / "copies.pkl", train)
    write(made / "noisy.pkl", train, noise=0.3)
    write(made / "real.pkl", train, generated=False)
    return made


def test_copies_of_the_training_are_found_and_have_the_distances_of_the_training(folder):
    output = succeeded(folder, *FIDELITY, "task.inputs=[copies.pkl]", "hydra.run.dir=copied")
    found = metrics(folder / "copied")
    assert found["generated/copies"] == 100
    assert found["generated/nearest_mm"] < 0.01
    assert found["train/copies"] < 100 and found["train/nearest_mm"] > 1
    assert found["train/bone_variation"] == pytest.approx(found["generated/bone_variation"], abs=2)
    assert "copies under 20 mm, %" in output
    assert "mean of each class" in output and "train + 20 mm noise" in output
    noise = 20 * (8 / np.pi) ** 0.5  # the mean length of a random displacement, millimetres
    assert noise < found["noisy/nearest_mm"] < 2 * noise  # the root, from which joints are, has too
    assert found["noisy/bone_variation"] > 2 * found["train/bone_variation"]
    assert found["mean/nearest_mm"] > 1 and np.isfinite(found["mean/top1"])
    page = (folder / "copied" / "fidelity.html").read_text()
    assert "generated: " in page and "real: " in page
    assert "from a network, not from persons" in page


def test_noise_is_seen_in_every_distance_and_several_files_have_an_interval(folder):
    given = ("task.inputs=[copies.pkl,noisy.pkl]", "hydra.run.dir=both", "task.trivial=false")
    output = succeeded(folder, *FIDELITY, *given)
    assert "±" in output and "mean of 2 files" in output
    succeeded(folder, *FIDELITY, "task.inputs=[noisy.pkl]", "hydra.run.dir=noisy")
    succeeded(folder, *FIDELITY, "task.inputs=[copies.pkl]", "hydra.run.dir=alone")
    noisy, copied = metrics(folder / "noisy"), metrics(folder / "alone")
    assert noisy["generated/copies"] == 0
    for name in ("fid_train", "kid_train", "bone_variation", "foot_speed", "nearest_mm"):
        assert noisy[f"generated/{name}"] > copied[f"generated/{name}"], name
    both = metrics(folder / "both")
    assert "mean/top1" not in both and "need no network" not in output
    mean = (noisy["generated/nearest_mm"] + copied["generated/nearest_mm"]) / 2
    assert both["generated/nearest_mm"] == pytest.approx(mean, rel=1e-4)


def test_what_can_not_be_compared_is_refused_in_a_line(folder):
    line = refused(folder, *FIDELITY, "task.inputs=[real.pkl]")
    assert "`task.inputs`" in line and "not generated" in line
    line = refused(folder, *FIDELITY, "task.inputs=[nowhere.pkl]")
    assert "nowhere.pkl" in line
    line = refused(folder, *FIDELITY, "task.inputs=[copies.pkl]", "task.split=train")
    assert "`task.split`" in line
    line = refused(folder, *FIDELITY, "task.inputs=[]")
    assert "task.inputs" in line
    flat = ("dataset=demo_out_domain", "task.epochs=1", "tracking=none", "hydra.run.dir=flat")
    succeeded(folder, *TINY, *flat)
    line = refused(folder, "task=fidelity", "task.checkpoint=flat", *QUICK,
                   "task.inputs=[copies.pkl]")  # fmt: skip
    assert "compares recordings in 3D" in line
