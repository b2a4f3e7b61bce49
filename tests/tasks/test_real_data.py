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


def test_the_full_posec3d_takes_training_steps_at_its_own_size(tmp_path):
    succeeded(
        tmp_path,
        "model=posec3d",
        "dataset=demo_out_domain",
        "pipeline.clip_len=48",
        "pipeline.train_size=56",
        "task.batch_size=2",
        "task.eval_batch_size=2",
        "task.epochs=1",
        "task.limit_batches=2",
        "device.jit=false",
        "tracking=none",
        "hydra.run.dir=run",
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < metrics["train/loss"] < 20
