"""A checkpoint used on another dataset: its clips stay those of its training."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.command_line import CommandLine
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.preprocessing import departures
from flag3d_exp.config.recall import recall
from flag3d_exp.engine.checkpoint import Checkpoint, save_checkpoint
from flag3d_exp.errors import UserError

CHOICES = {
    "dataset": "uiprmd",
    "stream": "joint",
    "pipeline": "graph",
    "model": "stgcn_small",
    "optimizer": "sgd",
    "scheduler": "cosine",
}
FILE = "dataset.path=x.pkl"


@pytest.fixture(autouse=True)
def hydra():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.fixture
def checkpoint(tmp_path) -> tuple[Path, dict]:
    """A checkpoint of a run on UI-PRMD, and its meta."""
    config = compose("config", ["dataset=uiprmd", FILE, "model=stgcn_small"])
    meta = {"config": OmegaConf.to_yaml(config), "choices": CHOICES}
    path = tmp_path / "best.npz"
    save_checkpoint(path, Checkpoint({}, meta=meta))
    return path, meta


def used(path: Path, *overrides: str) -> Experiment:
    """The experiment of a command line that uses the checkpoint."""
    given = ["task=evaluate", f"task.checkpoint={path}", *overrides]
    lines = [*recall(CommandLine.parse(given)), *given]
    config = compose("config", lines)
    chosen = [line.split("=")[1] for line in lines if line.startswith("dataset=")]
    return Experiment(config, path.parent, CHOICES | {"dataset": chosen[-1]}, tuple(lines))


def test_on_its_own_dataset_nothing_is_named(checkpoint):
    path, meta = checkpoint
    assert departures(used(path), meta) == []
    assert departures(used(path, "dataset.path=y.pkl"), meta) == []


def test_another_dataset_brings_its_file_but_not_its_preprocessing(checkpoint):
    path, meta = checkpoint
    experiment = used(
        path, "dataset=custom", FILE, "dataset.layout=nturgb+d", "dataset.num_classes=10"
    )
    config = experiment.config
    assert (config.dataset.normalise, config.dataset.clip_len) == ("body", 64)
    assert (config.pipeline.normalise, config.pipeline.clip_len) == ("body", 64)
    assert config.dataset.splits == {"train": "train", "val": "val"}
    assert departures(experiment, meta) == [
        "The clips are prepared as in training: `dataset.normalise` is body; "
        "`dataset=custom` says center.",
        "The clips are prepared as in training: `dataset.clip_len` is 64; "
        "`dataset=custom` says 100.",
    ]


def test_what_the_command_line_changes_is_obeyed_and_named(checkpoint):
    path, meta = checkpoint
    experiment = used(path, "dataset.clip_len=16", "stream=bone", "pipeline.num_clips=5")
    assert departures(experiment, meta) == [
        "The clips are prepared differently than in training: `dataset.clip_len` is 16, was 64.",
        "The clips are prepared differently than in training: `stream.name` is bone, was joint.",
        "The clips are prepared differently than in training: `stream.bones` is True, was False.",
        "The clips are prepared differently than in training: `pipeline.num_clips` is 5, was 1.",
    ]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["dataset=penn_action"], "penn_action has 15 classes, but the checkpoint"),
        (["dataset=custom", "dataset.num_classes=10", "dataset.layout=coco"], "layout coco"),
        (
            [
                "dataset=custom",
                "dataset.num_classes=10",
                "dataset.layout=nturgb+d",
                "dataset.classes=[Deep squat,b,c,d,e,f,g,h,i,j]",
            ],
            "label 1 of custom is 'b', but the checkpoint was trained on uiprmd, where it is",
        ),
    ],
)
def test_a_dataset_of_other_classes_or_joints_is_refused(checkpoint, overrides, expected):
    path, meta = checkpoint
    with pytest.raises(UserError) as caught:
        departures(used(path, *overrides, FILE), meta)
    assert expected in str(caught.value)
    assert "`dataset" in str(caught.value)


def test_weights_of_another_program_know_no_training(checkpoint):
    assert departures(used(checkpoint[0]), {}) == []
