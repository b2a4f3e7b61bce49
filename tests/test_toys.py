"""A backbone and a problem of one's own are each its file and its conf file, nothing else."""

import re
from pathlib import Path

import numpy as np
import pytest
from cli import killed, metrics, refused, succeeded

TOYS = Path(__file__).parent / "toys"
QUICK = (
    f"--config-dir={TOYS / 'conf'}",
    "dataset.clip_len=8",
    "task.epochs=2",
    "task.batch_size=8",
    "task.limit_batches=4",
    "task.save_every=1",
    "device=cpu",
    "device.jit=false",
    "tracking=none",
)
NAMED = QUICK[:1]  # what a file names of one's own must be named on the command line, too

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The toys' modules, for the program that a test starts."""
    monkeypatch.setenv("PYTHONPATH", str(TOYS), prepend=":")


def assert_resumes_alike(folder: Path, *choices: str) -> None:
    """A run that is killed within its second epoch and goes on ends as the one in `whole`."""
    line = (*QUICK, *choices, "task.resume=auto", "hydra.run.dir=stopped")
    killed(folder, *line, place="after", name="last.npz", number=6)
    succeeded(folder, *line)
    assert metrics(folder / "stopped") == metrics(folder / "whole")


def test_a_backbone_trains_resumes_is_evaluated_exported_and_predicts(tmp_path):
    succeeded(tmp_path, *QUICK, "model=toy", "hydra.run.dir=whole")
    assert_resumes_alike(tmp_path, "model=toy")
    own = (*NAMED, "model=toy", "task.checkpoint=whole", "tracking=none", "device=cpu")
    again = succeeded(tmp_path, *own, "task=evaluate", "task.limit_batches=4", "task.batch_size=8")
    assert f"top1 {metrics(tmp_path / 'whole')['val/top1']:.2f} %" in again
    exported = succeeded(tmp_path, *own, "task=export", "hydra.run.dir=out")
    assert "model.onnx" in exported and (tmp_path / "out" / "model.onnx").is_file()
    keypoints = np.random.default_rng(0).normal(size=(1, 20, 25, 3))
    np.savez(tmp_path / "clip.npz", keypoints=keypoints)
    told = succeeded(tmp_path, *own, "task=predict", "task.input=clip.npz")
    assert re.search(r"clip: .+ \d+\.\d %", told)
    counted = succeeded(tmp_path, *NAMED, "model=toy", "task=summary", "dataset.clip_len=8")
    assert "ToyBackbone" in counted


def test_a_problem_trains_resumes_and_is_evaluated_with_any_backbone(tmp_path):
    succeeded(tmp_path, *QUICK, "problem=toy", "model=toy", "hydra.run.dir=whole")
    assert_resumes_alike(tmp_path, "problem=toy", "model=toy")
    found = metrics(tmp_path / "whole")
    assert {"val/loss", "val/error", "train/error"} <= found.keys()
    with np.load(tmp_path / "whole" / "predictions" / "val.npz") as kept:
        assert np.abs(kept["told"] - kept["true"]).mean() == pytest.approx(found["val/error"])
    own = (
        *NAMED,
        "problem=toy",
        "model=toy",
        "task.checkpoint=whole",
        "tracking=none",
        "device=cpu",
    )
    again = succeeded(tmp_path, *own, "task=evaluate")
    assert "error" in again and "top1" not in again
    line = refused(tmp_path, *own, "task=export")
    assert "problem" in line
    small = ("model.base_channels=4", "model.num_blocks=1", "model.widen_at=[]")
    graph = succeeded(tmp_path, *QUICK, "problem=toy", *small, "hydra.run.dir=graph")
    assert "val: loss" in graph
