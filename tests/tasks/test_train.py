"""Training and evaluating from the command line, as a user does."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cli import TINY, client, command, metrics, refused, runs, succeeded

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A working folder in which a run of two epochs has finished in `run`."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = ["task.epochs=2", "task.log_every=2", "hydra.run.dir=run", "task.ema_decay=0.9"]
    (folder / "output.txt").write_text(succeeded(folder, *TINY, *arguments))
    return folder


def test_the_run_folder_holds_all_that_a_run_leaves(trained):
    run = trained / "run"
    for name in (
        ".hydra/config.yaml",
        "checkpoints/best.npz",
        "checkpoints/last.npz",
        "figures/confusion_val.png",
        "figures/curves.png",
        "history.jsonl",
        "metrics.json",
        "predictions/val.npz",
        "run.log",
    ):
        assert (run / name).stat().st_size > 0, name
    assert {path.name for path in trained.iterdir()} <= {
        "run",
        "mlflow.db",
        "mlruns",
        "mlartifacts",
        "output.txt",
        ".mlflow.db.lock",
    }
    with np.load(run / "predictions" / "val.npz") as kept:
        assert kept["scores"].shape == (len(kept["names"]), 16)
        np.testing.assert_allclose(kept["scores"].sum(1), 1, atol=1e-5)
        hits = kept["scores"].argmax(1) == kept["labels"]
    assert metrics(run)["val/top1"] == pytest.approx(100 * hits.mean())


def test_the_terminal_tells_what_ran_and_how_well(trained):
    lines = (trained / "output.txt").read_text().splitlines()
    assert "STGCN" in lines[0] and "synthetic" in lines[0] and "CPU" in lines[0]
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == ["1/2", "2/2"]
    assert any(line.startswith("val: top1 ") for line in lines)
    assert "mlflow ui" in lines[-1] and "workflowType=machine_learning" in lines[-1]


def test_mlflow_holds_configuration_metrics_data_and_artifacts(trained):
    (run,) = [run for run in runs(trained) if run.data.tags.get("run_folder", "").endswith("/run")]
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.lr"] == "0.1"
    assert {"model", "stream", "device", "host", "version.mindspore"} <= set(run.data.tags)
    assert {
        "train/loss",
        "train/top1",
        "val/loss",
        "val/top1",
        "val/top5",
        "lr",
        "clips_per_second",
        "val_ema/top1",
    } <= set(run.data.metrics)
    history = client(trained).get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == [2, 4, 6, 8]
    assert {entry.dataset.name for entry in run.inputs.dataset_inputs} == {
        "demo_in_domain (synthetic)"
    }
    artifacts = {item.path for item in client(trained).list_artifacts(run.info.run_id)}
    assert {"checkpoints", "config", "figures", "predictions", "metrics.json"} <= artifacts


@pytest.mark.parametrize("reference", ["file", "folder", "run id"])
def test_evaluating_the_checkpoint_gives_the_very_numbers_of_the_run(trained, reference, tmp_path):
    first = next(run for run in runs(trained) if run.data.tags["run_folder"].endswith("/run"))
    source = {
        "file": "run/checkpoints/best.npz",
        "folder": "run",
        "run id": first.info.run_id,
    }[reference]
    into = tmp_path / "again"
    succeeded(
        trained,
        "task=evaluate",
        f"task.checkpoint={source}",
        "device=cpu",
        "device.jit=false",
        "task.limit_batches=4",
        f"hydra.run.dir={into}",
    )
    expected, found = metrics(trained / "run"), metrics(into)
    assert set(found) == {"val/loss", "val/top1", "val/top5"}
    assert {name: expected[name] for name in found} == found


def test_a_run_that_raises_is_failed_in_mlflow(tmp_path):
    line = refused(tmp_path, *TINY, "optimizer.lr=1e30", "task.epochs=3", "hydra.run.dir=run")
    assert "loss is nan" in line and "nonfinite_step_" in line and "task.clip_norm" in line
    assert next((tmp_path / "run").glob("nonfinite_step_*.npz")).stat().st_size > 0
    assert [run.info.status for run in runs(tmp_path)] == ["FAILED"]


def test_a_used_run_folder_is_not_overwritten(trained):
    line = refused(trained, *TINY, "hydra.run.dir=run", "tracking=none")
    assert "already holds a run" in line and "task.resume=auto" in line


def test_half_precision_trains_with_a_loss_scale_that_the_checkpoint_keeps(tmp_path):
    succeeded(tmp_path, *TINY, "task.epochs=2", "device.precision=fp16", "hydra.run.dir=run")
    losses = [
        json.loads(line)["metrics"].get("train/loss")
        for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    ]
    assert np.isfinite([loss for loss in losses if loss is not None]).all()
    with np.load(tmp_path / "run" / "checkpoints" / "last.npz") as kept:
        assert kept["optimizer/loss_scale.value"] > 1
        assert kept["weights/head.weight"].dtype == np.float32


BROKEN = """
from mindspore import nn, ops

class Broken(nn.Cell):
    features, dropout = 3, 0.0

    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(3, 16)

    def construct(self, clips):
        return ops.matmul(self.dense(clips), clips)
"""


def test_a_failed_compilation_leaves_its_graph_in_the_run_folder(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "broken.yaml").write_text("_target_: broken.Broken\n")
    choice = ("--config-dir", "conf", "model=broken", "dataset.clip_len=8", "device=cpu")
    line = command(*choice, "device.jit=true", "tracking=none", "hydra.run.dir=run")
    # MindSpore reads at its import where the graph is to be left.
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert (tmp_path / "run" / "rank_0" / "om" / "analyze_fail.ir").exists()
    left = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert left == {"broken.py", "conf", "run"}
