"""The Python interface gives what the command line gives."""

import json
import subprocess
import sys

import numpy as np
import pytest
from cli import TINY, succeeded

import flag3d_exp as f3d
from flag3d_exp.data.annotations import open_annotations
from flag3d_exp.data.demo.dataset import demo_path
from flag3d_exp.errors import UserError

WAVE = {"clip_len": 8, "normalise": "center"}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interface")
    succeeded(folder, *TINY, "task.epochs=1", "tracking=none", "hydra.run.dir=run")
    return folder / "run"


@pytest.fixture(scope="module")
def run(run_folder):
    return f3d.load(run_folder, "device=cpu")


def made_up(num_recordings: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Two classes: one moves along x, the other along y; lengths differ."""
    rng = np.random.default_rng(0)
    labels = np.arange(num_recordings) % 2
    arrays = []
    for number, label in enumerate(labels):
        length = 10 + number % 4
        array = rng.normal(size=(1, length, 25, 3)).astype(np.float32)
        array[..., label] += 3 * np.linspace(0, 1, length)[:, None]
        arrays.append(array)
    return arrays, labels


def test_a_loaded_run_evaluates_as_the_run_did(run, run_folder):
    metrics = json.loads((run_folder / "metrics.json").read_text())
    found = run.evaluate("val")
    assert found.keys() == {"top1", "top5", "loss"}
    limited = np.load(run_folder / "predictions" / "val.npz")["scores"]  # 4 batches
    scores = run.predict(run.dataset("val"))
    np.testing.assert_allclose(scores[: len(limited)], limited, atol=1e-5)
    assert metrics["num_parameters"] == sum(p.size for p in run.model.trainable_params())


def test_arrays_are_predicted_as_the_recordings_they_are_of(run):
    annotations = open_annotations(demo_path("in_domain"))
    recordings = annotations.recordings(run.config.dataset.splits.val)[:3]
    scores = run.predict([recording.keypoints for recording in recordings])
    assert scores.shape == (3, len(run.classes))
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(run.predict(recordings[1].keypoints)[0], scores[1], atol=1e-5)
    np.testing.assert_allclose(run.predict(run.dataset("val"))[:3], scores, atol=1e-5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 9, 24, 3)), "24 joints"),
        (np.zeros((1, 9, 25, 2)), "2 coordinates"),
        (np.zeros((9, 25, 3)), "must have shape"),
        (np.full((1, 9, 25, 3), np.nan), "NaN"),
        ([], "at least one"),
        ([np.array(["a"])], "array of numbers"),
    ],
)
def test_what_the_network_does_not_take_is_refused(run, array, message):
    with pytest.raises(UserError, match=message):
        run.predict(array)


def test_a_run_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        f3d.load(tmp_path / "nowhere")


def test_training_on_arrays_learns_and_keeps_the_best_weights():
    import mindspore as ms

    from flag3d_exp.models.stgcn import STGCN

    ms.set_seed(0)
    x, y = made_up(24)
    train = f3d.clips(x[:16], y[:16], layout="nturgb+d", training=True, **WAVE)
    val = f3d.clips(x[16:], y[16:], layout="nturgb+d", **WAVE)
    assert train[0].shape == (1, 1, 8, 25, 3)
    backbone = STGCN("nturgb+d", base_channels=8, num_blocks=1)
    trained = f3d.train(backbone, train, {"val": val}, epochs=6, batch_size=8, lr=0.05)
    assert trained.metrics["val/top1"] == 100
    assert [entry["step"] for entry in trained.history] == [2, 4, 6, 8, 10, 12]
    assert trained.history[0]["train/loss"] > trained.history[-1]["train/loss"]
    assert f3d.evaluate(trained.model, val)["top1"] == 100
    assert (f3d.predict(trained.model, val).argmax(1) == y[16:]).all()


def test_settings_that_cannot_be_are_refused():
    x, y = made_up(4)
    with pytest.raises(UserError, match="`stream`"):
        f3d.clips(x, y, layout="nturgb+d", stream="angle")
    with pytest.raises(UserError, match="one for each of 4"):
        f3d.clips(x, y[:3], layout="nturgb+d")
    with pytest.raises(UserError, match="layout coco has 17"):
        f3d.clips(x, y, layout="coco")
    with pytest.raises(UserError, match="clip_len"):
        f3d.clips(x, y, layout="nturgb+d", clip_len=0)


def test_looking_at_data_imports_no_mindspore():
    code = (
        "import sys, numpy as np, flag3d_exp as f3d\n"
        "data = f3d.clips([np.ones((1, 9, 25, 3))], [0], layout='nturgb+d', clip_len=8)\n"
        "assert data[0].shape == (1, 1, 8, 25, 3) and data.labels.tolist() == [0]\n"
        "assert 'mindspore' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_device_s_precision_is_that_of_the_training(monkeypatch):
    from flag3d_exp.devices.device import Device
    from flag3d_exp.engine import step
    from flag3d_exp.models.stgcn import STGCN

    lowered, scaled = [], []
    lower, scale = Device.lowered_model, step.LossScale
    monkeypatch.setattr(
        Device, "lowered_model", lambda self, m: lowered.append(m) or lower(self, m)
    )
    monkeypatch.setattr(step, "LossScale", lambda: scaled.append(1) or scale())
    x, y = made_up(4)
    data = f3d.clips(x, y, layout="nturgb+d", **WAVE)
    for precision in ("fp32", "fp16"):
        trained = f3d.train(
            STGCN("nturgb+d", base_channels=4, num_blocks=1),
            data,
            {"val": data},
            epochs=1,
            device=Device("cpu", jit=False, precision=precision),
        )
        assert np.isfinite(trained.metrics["val/loss"])
    assert len(lowered) == 2 and len(scaled) == 1
