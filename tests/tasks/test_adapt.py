"""`task=adapt`, `task=robustness` and `task=calibrate`, as a user runs them."""

import json

import pytest
from cli import TINY, metrics, refused, succeeded

from flag3d_exp.engine.adapt.shot import Shot
from flag3d_exp.errors import UserError
from flag3d_exp.runs.references import open_run
from flag3d_exp.tasks.adapt import Adapt, check_target, check_untouched
from flag3d_exp.tasks.robustness import Robustness

OUT = ("dataset=demo_out_domain", "tracking=none", "device.jit=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run, `source`."""
    folder = tmp_path_factory.mktemp("runs")
    succeeded(folder, *TINY, *OUT, "task.epochs=1", "hydra.run.dir=source")
    return folder


def test_an_adapted_checkpoint_is_a_run_like_any_other_and_says_that_it_is_transductive(folder):
    told = succeeded(
        folder,
        "task=adapt_tent",
        "task.checkpoint=source",
        "task.split=val",
        *OUT,
        "task.online=true",
        "hydra.run.dir=adapted",
    )
    assert "val (transductive): top-1 before adapting" in told
    found = metrics(folder / "adapted")
    assert {"val/top1", "val_before/top1"} <= found.keys()
    run = open_run(str(folder / "adapted"))
    assert run.title == "STGCN joint (transductive)"
    assert len(run.predictions["val"].scores) == 384
    noted = json.loads((folder / "adapted" / "transductive.json").read_text())
    assert noted == {"split": "val", "recordings": 384, "method": "Tent", "online": True}
    evaluate = ("task=evaluate", "task.checkpoint=adapted", "task.limit_batches=1", *OUT)
    told = succeeded(folder, *evaluate, "hydra.run.dir=again")
    assert "transductive: the network was adapted to the recordings of split 'val'" in told
    assert open_run(str(folder / "again")).title.endswith("(transductive)")
    line = refused(folder, "task=adapt", "task.checkpoint=source", "task.split=train", *OUT)
    assert "`task.split=train` is the split that the network was trained on" in line


def test_a_table_says_how_accuracy_falls_with_what_is_done_to_recordings(folder):
    robustness = ("task=robustness", "task.checkpoint=source", "task.limit_batches=2", *OUT)
    few = ("task.crop=[]", "task.rotation=[0.3]", "task.jitter=[0.02]", "task.lost_joints=[0.2]")
    told = succeeded(folder, *robustness, *few, "hydra.run.dir=robust")
    assert "| lost_joints | 0.2 |" in told and "| crop |" not in told
    points = json.loads((folder / "robust" / "robustness.json").read_text())
    assert [point["disturbance"] for point in points] == [
        "",
        *["frame_rate"] * 3,
        "lost_joints",
        "jitter",
        "rotation",
        "mirror",
    ]
    found = metrics(folder / "robust")
    assert found.keys() == {
        "val/top1",
        "val_frame_rate_0.5/top1",
        "val_frame_rate_0.25/top1",
        "val_frame_rate_0.125/top1",
        "val_lost_joints_0.2/top1",
        "val_jitter_0.02/top1",
        "val_rotation_0.3/top1",
        "val_mirror_1/top1",
    }
    assert (folder / "robust" / "robustness.png").stat().st_size > 0


def test_a_fitted_temperature_is_used_where_it_is_given(folder):
    calibrate = ("task=calibrate", "task.checkpoint=source", *OUT)
    told = succeeded(folder, *calibrate, "hydra.run.dir=calibrated")
    assert "| val (fitted on) |" in told
    written = json.loads((folder / "calibrated" / "calibration.json").read_text())
    found = metrics(folder / "calibrated")
    assert found["val_calibrated/loss"] <= found["val/loss"]
    setting = f"problem.temperature={written['temperature']}"
    assert f"problem.temperature={written['temperature']:.4g}" in told
    succeeded(
        folder, "task=evaluate", "task.checkpoint=source", setting, *OUT, "hydra.run.dir=told"
    )
    assert metrics(folder / "told")["val/loss"] == pytest.approx(found["val_calibrated/loss"])


def test_a_target_must_be_a_split_and_arrive_once():
    check_target("val", ["val", "far"])
    with pytest.raises(UserError, match="must be one of `dataset.splits`, val, far; got 'fra'"):
        check_target("fra", ["val", "far"])
    with pytest.raises(UserError, match="set `task.method.epochs=1`"):
        Adapt("run", "val", Shot(epochs=2), online=True)


def test_a_target_shares_no_recording_with_what_is_called_untouched():
    splits = {"train": "a", "val": "b", "far": "c"}
    check_untouched("far", {"val": ["1", "2"], "far": ["3"]}, splits)
    with pytest.raises(UserError, match="shares 1 recordings with 'val', such as '2', .*untouched"):
        check_untouched("far", {"val": ["1", "2"], "far": ["2", "3"]}, splits)
    with pytest.raises(
        UserError, match="`task.split=val` is the split that the network was trained on"
    ):
        check_untouched("val", {"val": ["1"]}, {"train": "a", "val": "a"})


def test_robustness_needs_something_to_disturb_and_shares_within_their_range():
    nothing = {name: [] for name in ("frame_rate", "crop", "lost_joints", "jitter", "rotation")}
    with pytest.raises(UserError, match="at least one degree of one disturbance"):
        Robustness("run", mirror=False, **nothing)
    with pytest.raises(UserError, match="`task.lost_joints` must be above 0 and at most 1"):
        Robustness("run", lost_joints=[1.5])
