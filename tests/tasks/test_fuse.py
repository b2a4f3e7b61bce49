import json

import numpy as np
import pytest
from cli import refused, succeeded
from made_up_runs import made_up_run

from flag3d_exp.errors import UserError
from flag3d_exp.results import metrics
from flag3d_exp.results.predictions import load_predictions
from flag3d_exp.runs.references import open_run, open_runs
from flag3d_exp.tasks.compare import compare_runs
from flag3d_exp.tasks.fuse import Fuse, fuse_runs

NAMES = [f"r{number}" for number in range(90)]
LABELS = np.arange(90) % 3
QUALITY = {"val": 1.0, "out_domain": 0.7}


@pytest.fixture
def pair(tmp_path) -> list[str]:
    """Two runs that err on different recordings."""
    return [
        made_up_run(tmp_path / name, QUALITY, NAMES, LABELS, 3, seed=seed)
        for seed, name in enumerate(("joint", "bone"))
    ]


def test_the_fused_run_is_a_run_like_any_other(tmp_path, pair):
    for name in ("fused", "again"):  # the program makes the run folder
        (tmp_path / name).mkdir()
    runs = open_runs(pair)
    found = fuse_runs(tmp_path / "fused", runs, [2, 1])
    fused = open_run(str(tmp_path / "fused"))
    assert fused.title == "joint + bone"
    expected = metrics.fuse_scores([run.predictions["val"].scores for run in runs], [2, 1]) / 3
    np.testing.assert_allclose(fused.predictions["val"].scores, expected, atol=1e-7)
    assert json.loads((tmp_path / "fused" / "metrics.json").read_text()) == found
    assert found["val/top1"] == 100 * metrics.top_k_accuracy(expected, LABELS, 1)
    assert found["gap/out_domain/top1"] == found["val/top1"] - found["out_domain/top1"]
    again = fuse_runs(tmp_path / "again", open_runs([str(tmp_path / "fused"), pair[0]]))
    assert again["val/top5"] == 100


def test_weights_are_never_reported_on_the_split_they_were_fitted_on(tmp_path, pair):
    (tmp_path / "fused").mkdir()
    found = fuse_runs(tmp_path / "fused", open_runs(pair), fit_on="val")
    assert set(found) == {f"out_domain/{name}" for name in ("loss", "top1", "top5")}
    assert [p.name for p in (tmp_path / "fused" / "predictions").iterdir()] == ["out_domain.npz"]
    described = json.loads((tmp_path / "fused" / "fusion.json").read_text())
    assert described["weights_fitted_on"] == "val"
    assert sum(member["weight"] for member in described["members"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": [1.0, 1.0], "fit_on": "val"}, "exclude each other"),
        ({"fit_on": "val", "splits": ["val"]}, r"`task\.splits` must not hold `val`"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Fuse(runs=["a", "b"], **settings)


def test_one_run_is_neither_fused_nor_compared(tmp_path, pair):
    runs = open_runs(pair[:1])
    with pytest.raises(UserError, match="at least two runs to fuse; got 1"):
        fuse_runs(tmp_path / "fused", runs)
    with pytest.raises(UserError, match="at least two runs to compare; got 1"):
        compare_runs(runs)


def test_a_fit_that_leaves_no_split_is_refused(tmp_path, pair):
    for path in pair:
        (tmp_path / path / "predictions" / "out_domain.npz").unlink()
    with pytest.raises(UserError, match="no split is left"):
        fuse_runs(tmp_path / "fused", open_runs(pair), fit_on="val")


@pytest.mark.slow
def test_fusing_and_comparing_from_the_command_line(tmp_path, pair):
    runs = f"task.runs=[{pair[0]},{pair[1]}]"
    told = succeeded(tmp_path, "task=fuse", runs, "task.weights=[1,1]", "hydra.run.dir=fused")
    assert f"run folder: {tmp_path / 'fused'}" in told
    assert load_predictions(tmp_path / "fused" / "predictions" / "val.npz").names == tuple(NAMES)
    printed = succeeded(
        tmp_path,
        "task=compare",
        f"task.runs=[fused,{pair[0]}]",
        "hydra.run.dir=compared",
    )
    assert "| joint + bone - joint |" in printed
    compared = json.loads((tmp_path / "compared" / "compare.json").read_text())
    assert set(compared) == {"val", "out_domain"}
    assert compared["val"]["pairs"][0]["first"] == "joint + bone"
    line = refused(tmp_path, "task=fuse", runs, "task.weights=[1]", "hydra.run.dir=refused")
    assert "one weight per run; got 1 weights and 2 runs" in line
