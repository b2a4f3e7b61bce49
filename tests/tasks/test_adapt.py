"""`task=adapt`, as a user runs it."""

import json

import pytest
from cli import TINY, metrics, refused, succeeded

from flag3d_exp.engine.adapt.shot import Shot
from flag3d_exp.errors import UserError
from flag3d_exp.runs.references import open_run
from flag3d_exp.tasks.adapt import Adapt, check_target

OUT = ("dataset=demo_out_domain", "tracking=none", "device.jit=false")


def test_an_adapted_checkpoint_is_a_run_like_any_other_and_says_that_it_is_transductive(tmp_path):
    succeeded(tmp_path, *TINY, *OUT, "task.epochs=1", "hydra.run.dir=source")
    told = succeeded(
        tmp_path,
        *("task=adapt_tent", "task.checkpoint=source", "task.split=val", *OUT),
        *("task.online=true", "hydra.run.dir=adapted"),
    )
    assert "val (transductive): top-1 before adapting" in told
    found = metrics(tmp_path / "adapted")
    assert {"val/top1", "val_before/top1"} <= found.keys()
    run = open_run(str(tmp_path / "adapted"))
    assert run.title == "STGCN joint (transductive)"
    assert len(run.predictions["val"].scores) == 384
    noted = json.loads((tmp_path / "adapted" / "transductive.json").read_text())
    assert noted == {"split": "val", "recordings": 384, "method": "Tent", "online": True}
    evaluate = ("task=evaluate", "task.checkpoint=adapted", "task.limit_batches=1", *OUT)
    told = succeeded(tmp_path, *evaluate, "hydra.run.dir=again")
    assert "transductive: the network was adapted to the recordings of split 'val'" in told
    assert open_run(str(tmp_path / "again")).title.endswith("(transductive)")
    line = refused(tmp_path, "task=adapt", "task.checkpoint=source", "task.split=train", *OUT)
    assert "`task.split=train` is what the network was trained on" in line


def test_a_target_must_be_a_split_and_arrive_once():
    check_target("val", ["val", "far"])
    with pytest.raises(UserError, match="must be one of `dataset.splits`, val, far; got 'fra'"):
        check_target("fra", ["val", "far"])
    with pytest.raises(UserError, match="set `task.method.epochs=1`"):
        Adapt("run", "val", Shot(epochs=2), online=True)
