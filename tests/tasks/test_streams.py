import json

import pytest
from cli import TINY, program, refused, succeeded

from flag3d_exp.errors import UserError
from flag3d_exp.results.predictions import load_predictions
from flag3d_exp.tasks.streams import Streams, child_overrides

SMALL = [line for line in TINY if not line.startswith("task.")]
TRAIN = "task.train={epochs:1,batch_size:8,limit_batches:2}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"streams": ["joint"]}, r"`task\.streams` must name different streams"),
        ({"streams": ["joint", "joint"]}, r"`task\.streams` must name different streams"),
        ({"streams": ["joint", "bone"], "weights": [1.0]}, "one weight per run"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Streams(**settings)


def test_a_training_run_gets_this_runs_choices_but_its_own_stream_and_task():
    given = ["experiment=two_stream", "dataset=uiprmd", "model=aagcn", "stream=bone", "+seed=3"]
    given += ["task.weights=[1,2]", "hydra.run.dir=x", "model.dropout=0.1"]
    assert child_overrides(
        given, ("model", "aagcn"), "joint", {"epochs": 2, "clip_norm": None}
    ) == [
        "task=train",
        "task.resume=auto",
        "stream=joint",
        "model=aagcn",
        "dataset=uiprmd",
        "+seed=3",
        "model.dropout=0.1",
        "task.epochs=2",
        "task.clip_norm=null",
    ]


def test_an_experiment_brings_its_model_unless_another_is_chosen():
    chosen = ("experiment", "uiprmd_stgcn")
    line = "experiment=uiprmd_stgcn"
    assert child_overrides(["experiment=two_stream"], chosen, "bone", {})[-1] == line
    assert child_overrides(["model=aagcn"], chosen, "bone", {})[-2:] == [line, "model=aagcn"]


@pytest.mark.slow
def test_two_streams_in_one_command_and_found_the_second_time(tmp_path):
    arguments = ["experiment=two_stream", "model=stgcn_small", *SMALL, TRAIN]
    succeeded(tmp_path, *arguments, "tracking=none", "hydra.run.dir=both")
    both = tmp_path / "both"
    members = json.loads((both / "fusion.json").read_text())["members"]
    assert [member["title"] for member in members] == ["STGCN joint", "STGCN bone"]
    scores = [
        load_predictions(both / name / "predictions" / "val.npz").scores
        for name in ("joint", "bone", ".")
    ]
    assert abs((scores[0] + scores[1]) / 2 - scores[2]).max() < 1e-6
    again = ["task.runs=[both/joint,both/bone]", "tracking=none", "hydra.run.dir=again"]
    printed = succeeded(tmp_path, *arguments, *again)
    assert "joint: taken from both/joint" in printed
    assert not (tmp_path / "again" / "joint").exists()
    metrics = [
        json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("both", "again")
    ]
    assert metrics[0] == metrics[1]
    wrong = ["task.runs=[both/joint,both/joint]", "tracking=none", "hydra.run.dir=refused"]
    assert "both of stream joint" in refused(tmp_path, *arguments, *wrong)


def test_a_training_run_that_is_refused_says_why_without_a_traceback(tmp_path):
    done = program(tmp_path, "task=streams", "task.experiment=nope", "tracking=none")
    assert done.returncode == 1
    assert "`experiment=nope` is not a choice" in done.stderr
    assert "Traceback" not in done.stderr
