"""What is not there is refused before MindSpore is imported."""

import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.presence import check_present
from flag3d_exp.devices import ascend, cuda
from flag3d_exp.errors import UserError


def check(*words: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", list(words))
    check_present(cfg)


@pytest.fixture
def without_drivers(monkeypatch):
    monkeypatch.setattr(cuda, "DRIVER", "libnothing.so.1")
    monkeypatch.setattr(ascend, "has_driver", lambda: False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dataset=uiprmd", "dataset.path=no.pkl"], "`dataset.path`: no.pkl is not there"),
        (["dataset=uiprmd", "dataset.path=/"], "`dataset.path`: / is a folder"),
        (["task=evaluate", "task.checkpoint=x", "task.input=no.csv"], "`task.input`: no.csv is"),
        (["task=predict", "task.checkpoint=x", "task.input=no.csv"], "`task.input`: no.csv is"),
        (["task.init_from=no.npz"], "`task.init_from`: no.npz is neither"),
        (["device=gpu"], "`device=gpu`: no CUDA GPU answers"),
        (["device=ascend"], "Here there is: device=cpu."),
    ],
)
def test_what_is_not_there_is_named(words, expected, without_drivers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        check(*words)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["device=cpu"],
        ["dataset=uiprmd", "dataset.path=there.pkl"],
        ["task=predict", "task.checkpoint=x", "task.input=folder", "dataset.path=no.pkl"],
        ["task=stream", "task.checkpoint=x"],
        [f"task.init_from={'0' * 32}"],
    ],
)
def test_what_may_be_there_is_let_through(words, without_drivers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.pkl").touch()
    (tmp_path / "folder").mkdir()
    check(*words)


def test_a_missing_file_is_refused_without_importing_mindspore(tmp_path):
    line = [sys.executable, "-X", "importtime", "-m", "flag3d_exp", "dataset=uiprmd"]
    done = subprocess.run(
        [*line, "dataset.path=no.pkl"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "error: `dataset.path`: no.pkl is not there" in done.stderr
    assert "hydra" in done.stderr and "mindspore\n" not in done.stderr
