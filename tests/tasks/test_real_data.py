"""Short runs of the experiments on the real datasets, where they are there."""

import json

import pytest
from cli import succeeded

pytestmark = pytest.mark.slow
SHORT = (
    "task.epochs=1",
    "task.limit_batches=6",
    "device=cpu",
    "tracking=none",
    "hydra.run.dir=run",
)


@pytest.mark.parametrize(
    ("experiment", "dataset", "file", "splits"),
    [
        ("uiprmd_stgcn", "uiprmd", "uiprmd.pkl", ["val", "out_domain"]),
        ("penn_view_gap", "penn_action", "pennaction.pkl", ["val", "out_domain"]),
        ("penn_posec3d", "penn_action_fitness", "pennaction.pkl", ["val"]),
    ],
)
def test_an_experiment_runs_on_its_data(tmp_path, shared, experiment, dataset, file, splits):
    output = succeeded(
        tmp_path,
        f"experiment={experiment}",
        f"dataset={dataset}",
        f"dataset.path={shared / 'data' / file}",
        *SHORT,
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    for split in splits:
        assert 0 < metrics[f"{split}/loss"] < 10
        assert 0 <= metrics[f"{split}/top1"] <= 100
        assert (tmp_path / "run" / "predictions" / f"{split}.npz").is_file()
        assert f"{split}: top1" in output
    assert "warning" not in output.lower()


GRAPH = ("dataset.clip_len=16",)
SLIM = ("model.base_channels=8", "model.num_blocks=2", "model.widen_at=[2]")
HEATMAP = (
    "model.base_channels=4",
    "pipeline.clip_len=8",
    "pipeline.short_side=20",
    "pipeline.train_size=16",
    "pipeline.test_size=16",
    "pipeline.num_clips=1",
)
SIZES = {
    "stgcn": SLIM,
    "stgcnpp": SLIM,
    "agcn": SLIM,
    "aagcn": SLIM,
    "agcn_original": SLIM,
    "ctrgcn": SLIM,
    "dgstgcn": SLIM,
    "msg3d": ("model.base_channels=8", "model.num_stages=1", "model.num_scales=4"),
    "posec3d": (*HEATMAP, "model.stage_blocks=[1,1,1]"),
    "c3d_light": HEATMAP,
    "x3d_shallow": (*HEATMAP, "model.stage_blocks=[1,1,1]"),
}


# One network of joints and one of heatmaps; before a release, all.
OTHERS = [model for model in SIZES if model not in ("ctrgcn", "posec3d")]


@pytest.mark.parametrize(
    "model",
    ["ctrgcn", "posec3d", *(pytest.param(model, marks=pytest.mark.release) for model in OTHERS)],
)
def test_a_slim_model_trains_an_epoch_of_real_data(tmp_path, shared, model):
    heatmap = "pipeline.train_size=16" in SIZES[model]
    dataset, file = (
        ("penn_action_fitness", "pennaction.pkl") if heatmap else ("uiprmd", "uiprmd.pkl")
    )
    succeeded(
        tmp_path,
        f"model={model}",
        *SIZES[model],
        *(() if heatmap else GRAPH),
        f"dataset={dataset}",
        f"dataset.path={shared / 'data' / file}",
        "task.epochs=1",
        "task.eval_batch_size=50",
        "optimizer.lr=0.02",
        "device.jit=false",
        "tracking=none",
        "hydra.run.dir=run",
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < metrics["train/loss"] < 10
    lines = (tmp_path / "run" / "run.log").read_text().splitlines()
    warnings = [line for line in lines if "WARNING" in line]
    assert len(warnings) == 1 and "updates of the weights" in warnings[0]  # of one epoch


def test_the_full_posec3d_takes_training_steps_at_its_own_size(tmp_path):
    succeeded(
        tmp_path,
        "model=posec3d",
        "dataset=demo_out_domain",
        "pipeline.clip_len=48",
        "pipeline.train_size=56",
        "task.batch_size=1",
        "task.eval_batch_size=1",
        "task.epochs=1",
        "task.limit_batches=2",
        "device.jit=false",
        "tracking=none",
        "hydra.run.dir=run",
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < metrics["train/loss"] < 20
