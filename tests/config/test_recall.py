import numpy as np
import pytest
from omegaconf import OmegaConf

from flag3d_exp.config.recall import expanded, recalled
from flag3d_exp.engine.checkpoint import Checkpoint, save_checkpoint
from flag3d_exp.errors import UserError

SAVED = """
task: {_target_: x.Train, epochs: 3}
dataset: {name: a, clip_len: 48}
model: {_target_: x.A, size: 4, classes: '${dataset.clip_len}'}
pipeline: {clip_len: '${dataset.clip_len}'}
device: {target: gpu}
tracking: {uri: elsewhere}
seed: 7
"""
META = {
    "config": SAVED,
    "choices": {"task": "train", "dataset": "a", "model": "m", "device": "gpu", "experiment": "e"},
}


@pytest.fixture
def run(tmp_path):
    checkpoint = Checkpoint({"w": np.zeros(1, np.float32)}, meta=META)
    save_checkpoint(tmp_path / "checkpoints" / "best.npz", checkpoint)
    return tmp_path


def composed(**groups):
    base = OmegaConf.create(SAVED)
    base.task = {"_target_": "x.Evaluate"}
    base.device, base.tracking, base.seed = {"target": "cpu"}, {"uri": "here"}, 0
    return OmegaConf.merge(base, groups)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "neither a run folder, nor a file"),
        (b"", "is not a checkpoint of this program"),
        (b"\x89PNG\r\n\x1a\n0000", "is not a checkpoint of this program"),
    ],
    ids=["missing", "empty", "picture"],
)
def test_what_is_no_checkpoint_is_refused_with_its_key_before_the_run(tmp_path, content, expected):
    path = tmp_path / "best.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"^`task.checkpoint.*{expected}"):
        expanded(["task=evaluate", f"task.checkpoint={path}"])


def test_an_unknown_mlflow_run_is_refused_without_a_store_being_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="^`task.checkpoint`: .*there is no store `tracking.uri="):
        expanded(["task=evaluate", f"task.checkpoint={'0' * 32}"])
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_brings_the_choices_of_its_run(run):
    for reference in (str(run), str(run / "checkpoints" / "best.npz")):
        line = ["task=evaluate", f"task.checkpoint={reference}", "model.size=5"]
        assert expanded(line) == ["dataset=a", "model=m", *line]


def test_the_choices_of_a_run_stand_behind_flags(run):
    line = ["--config-dir", "conf", "task=evaluate", f"task.checkpoint={run}"]
    assert expanded(line) == ["--config-dir", "conf", "dataset=a", "model=m", *line[2:]]


def test_a_choice_on_the_command_line_comes_before_the_run_s_own(run):
    line = ["task=evaluate", f"task.checkpoint={run}", "dataset=b"]
    assert expanded(line) == ["model=m", *line]


def test_an_experiment_replaces_the_run_s_configuration(run):
    line = ["experiment=published", f"task.checkpoint={run}"]
    assert expanded(line) == line
    cfg = composed(seed=3)
    assert recalled(cfg, META, line) is cfg


def test_the_run_s_values_hold_except_where_the_command_line_speaks():
    cfg = recalled(composed(model={"size": 5}), META, ["task=evaluate", "model.size=5"])
    assert (cfg.seed, cfg.dataset.clip_len, cfg.model.size) == (7, 48, 5)
    assert (cfg.task._target_, cfg.device.target, cfg.tracking.uri) == ("x.Evaluate", "cpu", "here")


def test_values_that_hang_on_a_changed_one_follow_it():
    line = ["dataset.clip_len=12"]
    cfg = recalled(composed(dataset={"clip_len": 12}), META, line)
    assert (cfg.dataset.clip_len, cfg.model.classes, cfg.pipeline.clip_len) == (12, 12, 12)


def test_another_choice_replaces_the_whole_group():
    cfg = recalled(composed(dataset={"name": "b", "clip_len": 5}), META, ["dataset=b"])
    assert OmegaConf.to_container(cfg.dataset) == {"name": "b", "clip_len": 5}


def test_resuming_repeats_the_run_s_command_line_in_its_folder(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- model=m\n- task.resume=auto\n")
    assert expanded([f"task.resume={tmp_path}", "task.epochs=9"]) == [
        "model=m",
        "task.epochs=9",
        "task.resume=auto",
        f"hydra.run.dir='{tmp_path}'",
    ]


def test_resuming_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        expanded([f"task.resume={tmp_path}"])
    assert expanded(["task.resume=auto"]) == ["task.resume=auto"]
