"""A run folder is used once; what it holds is refused before anything is written to it."""

import json
from pathlib import Path

import pytest

from flag3d_exp.config.refusals import check_command_line
from flag3d_exp.errors import UserError
from flag3d_exp.runs.run_folder import PREPARED, check_unused, lock_folder

TRAINED = ("checkpoints/best.npz", "history.jsonl", "metrics.json", "predictions/val.npz")
EVALUATED = ("metrics.json", "mlflow.json", "predictions/val.npz")


def used(folder: Path, *names: str) -> Path:
    """A folder with these files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def content(folder: Path) -> dict[str, str]:
    """Every file of a folder."""
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "task",
    [
        ["task=train"],
        ["task=summary"],
        ["task=convert", "task.source=a", "task.output=b"],
        ["task=report", "task.runs=[a]"],
    ],
    ids=lambda task: task[0],
)
def test_every_task_refuses_a_used_folder_and_leaves_it_alone(tmp_path, task):
    folder = used(tmp_path / "run", *TRAINED)
    before = content(folder)
    with pytest.raises(UserError, match="already holds a run") as caught:
        check_command_line([*task, f"hydra.run.dir={folder}"])
    assert ("task.resume=auto" in str(caught.value)) == (task == ["task=train"])
    assert content(folder) == before


@pytest.mark.parametrize(
    "names", [EVALUATED, ["fusion.json"], ["report.html"], ["predicted.csv"], ["mlflow.json"]]
)
def test_a_folder_is_used_whatever_a_task_left_in_it(tmp_path, names):
    with pytest.raises(UserError, match="already holds a run"):
        check_unused(used(tmp_path, *names), None, resumable=False)


def test_a_new_folder_and_what_a_failed_start_leaves_can_be_used(tmp_path):
    check_command_line([f"hydra.run.dir={tmp_path}/new"])
    assert not (tmp_path / "new").exists()
    used(tmp_path / "run", ".hydra/config.yaml", "run.log", ".lock")
    check_command_line([f"hydra.run.dir={tmp_path}/run"])


@pytest.mark.parametrize("names", [TRAINED, ["history.jsonl", "mlflow.json"], ["mlflow.json"], []])
def test_a_training_run_is_continued_in_its_folder(tmp_path, names):
    check_unused(used(tmp_path, *names), "auto", resumable=True)


@pytest.mark.parametrize("names", [EVALUATED, [*TRAINED, "fusion.json"], ["findings.json"]])
def test_what_another_task_left_is_not_continued(tmp_path, names):
    with pytest.raises(UserError, match="holds no training run to continue"):
        check_unused(used(tmp_path, *names), "auto", resumable=True)


def test_a_folder_in_use_is_refused(tmp_path):
    with lock_folder(tmp_path), pytest.raises(UserError, match="is in use by another run"):
        check_unused(tmp_path, None, resumable=True)


def test_a_folder_that_a_driver_has_prepared_is_for_its_job(tmp_path, monkeypatch):
    used(tmp_path, "trial.json")
    monkeypatch.setenv(PREPARED, str(tmp_path))
    check_unused(tmp_path, None, resumable=False)
    monkeypatch.setenv(PREPARED, json.dumps("elsewhere"))
    with pytest.raises(UserError, match="already holds a run"):
        check_unused(tmp_path, None, resumable=False)
