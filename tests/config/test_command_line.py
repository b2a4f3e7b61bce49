import re
import subprocess
import sys
from pathlib import Path

import pytest

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.refusals import check_command_line
from flag3d_exp.errors import UserError


def refusal(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        check_command_line(list(arguments))
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["model=posec3d", "dataset=demo_out_domain"],
        ["model=stgcn,aagcn", "seed=1,2,3", "-m"],
        ["optimizer.lr=tag(log,interval(0.001,1))", "-m"],
        ["dataset=uiprmd", "dataset.path=x.pkl", "experiment=uiprmd_stgcn"],
        ["+dataset.splits.other=val"],
        ["hydra.run.dir=elsewhere"],
        ["--help"],
    ],
)
def test_what_is_right_is_let_through(arguments):
    check_command_line(arguments)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("optimizer.lrr=1", ["`optimizer.lrr`", "`optimizer.lr`", "weight_decay"]),
        ("+optimizer.foo=1", ["`optimizer.foo`", "weight_decay"]),
        ("+new_key=1", ["`new_key`", "dataset"]),
        ("modle=stgcn", ["`modle`", "Did you mean `model`"]),
        ("model=stgc", ["`model=stgc`", "`stgcn`", "posec3d"]),
        ("model=stgcn,aagn", ["`model=aagn`", "`aagcn`"]),
        ("~model", ["`~model`"]),
        ("task.epochs=many", ["`task.epochs`", "an integer", "'many'"]),
        ("task.epochs=1.5", ["`task.epochs`", "an integer", "1.5"]),
        ("task.nonfinite=ignore", ["`task.nonfinite`", "stop or skip", "'ignore'"]),
        ("model.widen_at=3", ["`model.widen_at`", "a list", "3"]),
        ("dataset.splits.foo=val", ["`dataset.splits.foo`", "+dataset.splits.foo"]),
        ("dataset=uiprmd", ["`dataset.path`", "must be given"]),
        ("task=evaluate", ["`task.checkpoint`", "must be given"]),
        ("seed=-1", ["`seed`", "from 0 to 4294967295", "-1"]),
        ("seed=x", ["`seed`", "'x'"]),
        ("seed=4294967296", ["`seed`", "from 0 to 4294967295", "4294967296"]),
        ("task.epochs=0", ["`task.epochs` must be at least 1; got 0"]),
        ("task.epochs=99999999999999999999", ["`task.epochs`", "below 2^63"]),
        ("task.batch_size=1000000", ["`task.batch_size` must be from 1 to 65536; got 1000000"]),
        ("task.log_every=0", ["`task.log_every` must be at least 1; got 0"]),
        ("task.clip_norm=inf", ["`task.clip_norm` must be a finite number above 0; got inf"]),
        (
            "problem.label_smoothing=1",
            ["`problem.label_smoothing`", "at least 0 and below 1; got 1"],
        ),
        ("optimizer.lr=nan", ["`optimizer.lr` must be a finite number at least 0; got nan"]),
        ("optimizer.momentum=1", ["`optimizer.momentum` must be at least 0 and below 1; got 1"]),
        ("scheduler.floor=2", ["`scheduler.floor` must be from 0 to 1; got 2"]),
        ("augment.affine.rotation=nan", ["`augment.affine.rotation`", "finite", "nan"]),
        ("pipeline.test_part=[1,0.5]", ["`pipeline.test_part`", "two rising numbers", "[1, 0.5]"]),
        ("augment.frames.part=[1,0.5]", ["`augment.frames.part`", "two rising", "[1, 0.5]"]),
        ("augment.mirror.probability=1.5", ["`augment.mirror.probability` must be from 0 to 1"]),
        ("augment.turn.probability=1", ["Turn is for 2 coordinates; this dataset has 3"]),
        ("augment.affine.rotation=[1,2]", ["`augment.affine.rotation` must be", "a list of 3"]),
        ("pipeline.rotation=0.3", ["`pipeline.rotation` is now `augment.affine.rotation`"]),
        ("+pipeline.part=[0.5,1]", ["is now `augment.frames.part`", "`pipeline.test_part`"]),
        ("model.dropout=1.5", ["`model.dropout` must be at least 0 and below 1; got 1.5"]),
        ("model.widen_at=[0]", ["`model.widen_at`", "each an integer of at least 1", "[0]"]),
        ("dataset.clip_len=0", ["`dataset.clip_len` must be from 1 to 100000; got 0"]),
        ("dataset.num_classes=3", ["`dataset.classes` must name 3 classes", "got 16"]),
        ("dataset.layout=ntu", ["`dataset.layout` must be one of", "nturgb+d", "'ntu'"]),
        ("tracking.uri=''", ["`tracking.uri` must be one of", "tracking=none", "got ''"]),
        ("tracking.experiment=''", ["`tracking.experiment` must be a name; got ''"]),
        ("tracking.patience=-1", ["`tracking.patience` must be at least 0; got -1"]),
        ("device.id=-1", ["`device.id` must be at least 0; got -1"]),
        ("model=", ["`model="]),
        ("lr", ["key=value"]),
        ("model._target_=flag3d_exp.models.stgcn.STGCM", ["`model._target_`", "STGCM"]),
        ("experiment=nope", ["`experiment=nope`", "uiprmd_stgcn"]),
        ("hydra.run.dirr=x", ["dirr"]),
        ("debug=overfitt", ["`debug=overfitt`", "Did you mean `overfit`"]),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(argument, expected):
    line = refusal(argument)
    for part in expected:
        assert part in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--hepl"], ["unrecognized arguments: --hepl", "`key=value`"]),
        (["--epochs", "3"], ["--epochs", "`key=value`"]),
        (["--cfg", "foo"], ["'foo'", "job"]),
        (["--config-dir"], ["--config-dir", "expected one argument"]),
        (["--help", "foo=bar"], ["`foo`", "Groups: augment"]),
        (["--cfg", "job", "modle=stgcn"], ["`modle`", "Did you mean `model`"]),
        (["++foo.bar=1"], ["`foo` is not a setting", "Settings: augment"]),
        (["model=null"], ["`model=null`", "needs its `model`", "stgcn"]),
        (["debug=null"], ["`debug=null`", "leave `debug` out"]),
        (["model=[stgcn,aagcn]"], ["choose one", "`-m model=stgcn,aagcn`"]),
        (["model=stgcn,aagcn"], ["`model=stgcn,aagcn`", "`-m`"]),
        (["task.epochs", "=", "3"], ["`task.epochs`", "`key=value`"]),
        (["tracking.run_name=my run (1)"], ["`tracking.run_name=my run (1)`", "key='a text'"]),
        (["task.epochs=null"], ["at least 1; got null"]),
        (["task.sync_batchnorm=1"], ["`task.sync_batchnorm` must be true or false; got 1"]),
    ],
)
def test_a_slip_on_the_command_line_is_named(arguments, expected):
    line = refusal(*arguments)
    for part in expected:
        assert part in line, line
    assert "https:" not in line


def test_an_incomplete_configuration_can_be_looked_at():
    check_command_line(["--cfg", "job", "dataset=uiprmd"])


def test_an_object_within_an_object_is_checked():
    assert "`task.debug.step`" in refusal("debug=overfit", "+task.debug.step=3")
    assert "an integer of at least 2; got 'x'" in refusal("debug=overfit", "task.debug.steps=x")


def test_settings_that_exclude_each_other_are_refused_before_anything_is_read():
    assert "`device.precision=bf16`" in refusal("device=cpu", "device.precision=bf16")
    assert "`device.id` must be 0 on a CPU" in refusal("device=cpu", "device.id=3")
    assert "`scheduler.milestones` must ascend" in refusal(
        "scheduler=step", "scheduler.milestones=[5,3]"
    )


def test_groups_that_exclude_each_other_are_refused_before_anything_is_read():
    assert "take a dataset of 2, such as `dataset=demo_out_domain`" in refusal("model=posec3d")
    assert "`stream=bone` is for graph networks" in refusal(
        "model=posec3d", "dataset=demo_out_domain", "stream=bone"
    )
    assert "`dataset.normalise=box` is for 2 coordinates" in refusal("dataset.normalise=box")
    assert "leave `model.layout` out" in refusal("model.layout=coco")
    check_command_line(["task=summary", "model=posec3d"])


def test_a_sweep_is_checked_value_by_value():
    assert "`optimizer.lr`" in refusal("-m", "optimizer.lr=0.1,much")
    assert "`optimizer.lr` must be at least 0; got -1" in refusal("-m", "optimizer.lr=0.1,-1")
    assert "`hydra.sweeper.n_jobs` must be at least 1" in refusal("-m", "hydra.sweeper.n_jobs=0")
    misnamed = refusal("-m", "sweep=sgd", "hydra.sweeper.n_trails=3")
    assert "Did you mean `hydra.sweeper.n_trials`?" in misnamed
    assert "`hydra.foo` is no group of settings" in refusal("hydra.foo.bar=1")


def test_a_folder_of_further_choices_is_searched(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("defaults: [custom, _self_]\nname: mine\n")
    line = refusal("--config-dir", str(tmp_path), "dataset=mine")
    assert "`dataset.path` must be given" in line
    assert "is not a folder" in refusal("--config-dir", str(tmp_path / "absent"))


BROKEN = {
    "model/open.yaml": "a: [1, 2\n",
    "model/lost.yaml": "_target_: nowhere.Model\n",
    "model/list.yaml": "- a\n",
    "experiment/inside.yaml": "task: {epochs: 3}\n",
    "experiment/group.yaml": "# @package _global_\ndefaults:\n  - override /modle: stgcn\n",
    "experiment/choice.yaml": "# @package _global_\ndefaults:\n  - override /model: stgcm\n",
    "experiment/key.yaml": "# @package _global_\ntask: {epohcs: 3}\n",
    "dataset/base.yaml": "defaults: [custm, _self_]\n",
}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("model=open", ["model/open.yaml", "line 2"]),
        ("model=lost", ["`model._target_`", "no module `nowhere`"]),
        ("model=list", ["`model`", "`_target_`"]),
        ("experiment=inside", ["`experiment`", "# @package _global_"]),
        ("experiment=group", ["experiment/group.yaml", "`modle`", "Did you mean `model`"]),
        ("experiment=choice", ["`model=stgcm`", "`stgcn`", "aagcn"]),
        ("experiment=key", ["`task.epohcs`", "`task.epochs`"]),
        ("dataset=base", ["`dataset=custm`", "`custom`"]),
    ],
)
def test_a_broken_file_of_one_s_own_is_named_with_what_is_wrong_in_it(tmp_path, choice, expected):
    for name, content in BROKEN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    line = refusal("--config-dir", str(tmp_path), choice)
    for part in expected:
        assert part in line, line
    assert "search path" not in line


def test_an_override_that_cannot_be_parsed_is_shown():
    assert refusal("task=fuse", "task.runs=[a,b").startswith("`task.runs=[a,b`: ")


def test_an_unknown_primary_configuration_is_refused():
    assert "`--config-name nope`" in refusal("--config-name", "nope")


def test_a_refusal_comes_before_heavy_imports():
    code = (
        "import sys\n"
        "from flag3d_exp.main import main\n"
        "sys.argv[1:] = ['optimizer.lrr=1']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 1\n"
        "assert not {'mindspore', 'mlflow', 'matplotlib', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model.num_channels=7"], "`model.num_channels=7`, but `dataset.num_channels` is 3"),
        (["model.num_persons=2"], "`model.num_persons=2`, but `pipeline.num_persons` is 1"),
        (["pipeline.layout=coco"], "`pipeline.layout=coco`, but `dataset.layout` is nturgb+d"),
        (
            ["model=msg3d", "model.window_sizes=[4]"],
            "`model.window_sizes` must be a list, each an integer of at least 1 and odd; got [4]",
        ),
        (
            ["model=stgcnpp", "model.base_channels=4"],
            "`model.base_channels` must be at least 6; got 4",
        ),
        (["model=aagcn", "model.base_channels=3"], "`model.base_channels` must be at least 4"),
        (
            ["model=dgstgcn", "model.ratio=0.01"],
            "`model.ratio` must be at least 1 / `base_channels`",
        ),
        (["model=stgcn", "model.train_size=8"], "`model.train_size` is not a setting"),
    ],
)
def test_a_network_that_could_not_train_is_refused(arguments, expected):
    assert expected in refusal(*arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["model.temporal_kernels=[2,3,3]"], "each an integer of at least 1 and odd"),
        (["model.temporal_kernels=[3,3]"], "must be as long as `stage_blocks`; got [3, 3]"),
        (["model.stage_blocks=[0,6,3]"], "`model.stage_blocks` must be a list, each an integer"),
        (["model.stage_blocks=[]"], "`model.stage_blocks` must be a list that is not empty"),
        (["model.spatial_strides=[0,2,2]"], "`model.spatial_strides` must be a list"),
        (["model.test_size=32"], "`model.test_size=32`, but `pipeline.test_size` is 64"),
        (["model=x3d_shallow", "model.factor=0.01"], "`model.factor` must be at least 1 / "),
        (["model=c3d_light", "pipeline.test_size=4"], "`model.test_size` must be at least 8"),
        (
            ["pipeline=graph", "model.train_size=56", "model.test_size=64"],
            "take `pipeline=heatmap` with it",
        ),
        (
            ["model=stgcn", "pipeline=heatmap", "dataset.num_channels=2",
             "dataset.score_channel=false"],
            "`pipeline=heatmap` gives 3 channels, but `model.num_channels` is 2",
        ),
    ],
)  # fmt: skip
def test_a_heatmap_network_that_could_not_train_is_refused(arguments, expected):
    assert expected in refusal("dataset=demo_out_domain", "model=posec3d", *arguments)


def test_the_help_and_the_page_on_runs_describe_every_group():
    groups = {path.name for path in CONF.iterdir() if path.is_dir()} - {"hydra"}
    help_text = (CONF / "config.yaml").read_text(encoding="utf-8")
    page = (Path(__file__).parents[2] / "docs" / "runs.md").read_text(encoding="utf-8")
    for group in sorted(groups):
        assert re.search(rf"^ +{group} +\w", help_text, re.M), group
        assert f"`{group}`" in page, group
