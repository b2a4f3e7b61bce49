"""What a user sees of each mistake: one line that names it, and exit code 1."""

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cli import TINY, command, program, refused
from omegaconf import OmegaConf

from flag3d_exp.config.experiment import built_object
from flag3d_exp.errors import UserError
from flag3d_exp.main import leave

pytestmark = pytest.mark.slow


def annotation(name: str, label: int = 0, num_joints: int = 25, dtype=np.float32) -> dict:
    keypoints = np.random.default_rng(0).standard_normal((1, 12, num_joints, 3)).astype(dtype)
    return {"frame_dir": name, "label": label, "total_frames": 12, "keypoint": keypoints}


def content() -> dict:
    names = [f"r{i}" for i in range(8)]
    return {
        "split": {"train": names[:6], "val": names[6:], "hollow": []},
        "annotations": [annotation(name, i % 2) for i, name in enumerate(names)],
    }


class Foreign:
    """A class that no annotation file may name."""

    def __reduce__(self):
        return (print, ("code from a pickle was run",))


def with_nan() -> dict:
    made = content()
    made["annotations"][3]["keypoint"][0, 5, 7, 1] = np.nan
    return made


def with_label(label: int) -> dict:
    made = content()
    made["annotations"][2]["label"] = label
    return made


def with_joints(num_joints: int) -> dict:
    made = content()
    made["annotations"] = [annotation(f"r{i}", i % 2, num_joints) for i in range(8)]
    return made


def run_on(folder: Path, data: object, *arguments: str) -> str:
    raw = data if isinstance(data, bytes) else pickle.dumps(data)
    (folder / "mine.pkl").write_bytes(raw)
    line = refused(
        folder,
        *TINY,
        "dataset=custom",
        "dataset.path=mine.pkl",
        "dataset.layout=nturgb+d",
        "dataset.num_classes=2",
        "dataset.cache=null",
        *arguments,
    )
    left = {path.name for path in folder.iterdir()}
    assert left <= {"mine.pkl", "outputs"}, "no store is made for a run that never was"
    return line


@pytest.mark.parametrize("task", ["summary", "benchmark"])
def test_models_to_compare_are_looked_up_before_the_first(task, tmp_path):
    line = refused(tmp_path, f"task={task}", "task.models=[stgcn_small,stgcnn]", "tracking=none")
    assert "`task.models`: `stgcnn` is not a choice" in line and "Did you mean `stgcn`" in line


@pytest.mark.parametrize(
    ("data", "arguments", "expected"),
    [
        (pickle.dumps(content())[:-500], [], ["mine.pkl"]),
        (content() | {"extra": Foreign()}, [], ["mine.pkl", "print"]),
        (content(), ["dataset.splits.val=vall"], ["'vall'", "train, val", "`val`"]),
        (content(), ["dataset.splits.val=hollow"], ["hollow", "empty"]),
        (with_joints(17), [], ["17 joints", "25", "dataset.layout"]),
        (with_nan(), [], ["'r3'", "NaN"]),
        (with_label(5), [], ["'r2'", "label 5", "0 to 1"]),
        (content(), ["dataset.layout=ntu"], ["ntu", "nturgb+d"]),
        (content(), ["task.objective=val/top7"], ["val/top7", "val/top1"]),
    ],
    ids=["truncated", "foreign", "split", "empty", "joints", "nan", "label", "layout", "objective"],
)
def test_a_bad_file_or_setting_is_refused(tmp_path, data, arguments, expected):
    line = run_on(tmp_path, data, *arguments)
    for part in expected:
        assert part in line, line


def test_a_missing_file_is_refused_with_its_path_and_key(tmp_path):
    line = refused(tmp_path, "dataset=uiprmd", "dataset.path=nowhere.pkl")
    assert "nowhere.pkl" in line and "`dataset.path`" in line


def test_an_unknown_model_is_refused_before_anything_is_written(tmp_path):
    line = refused(tmp_path, "model=stgcm")
    assert "`model=stgcm`" in line and "`stgcn`" in line
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_its_settings_cannot_make_is_refused_in_one_line(tmp_path):
    line = refused(tmp_path, *TINY, "model.num_blocks=0", "model.widen_at=[]")
    assert "`model.num_blocks` must be at least 1; got 0" in line
    assert "`model.dropout`" in refused(tmp_path, *TINY, "model.dropout=1.5")
    line = refused(tmp_path, *TINY, "model.layout=coco")
    assert "`model.layout=coco` has 17 joints, `dataset.layout=nturgb+d` has 25" in line
    assert "`task.init_from`" in refused(tmp_path, *TINY, "task.init_from=nowhere.npz")
    line = refused(tmp_path, *TINY, "scheduler.warmup_epochs=-1")
    assert line == "error: `scheduler.warmup_epochs` must be at least 0; got -1."


def test_an_object_that_fails_on_its_settings_is_named_with_the_reason():
    halves = OmegaConf.create({"_target_": "fractions.Fraction", "numerator": 1, "denominator": 0})
    with pytest.raises(UserError) as caught:
        built_object(halves)
    assert "`fractions.Fraction` can't be made with these settings" in str(caught.value)
    assert "ZeroDivisionError" in str(caught.value)


def test_memory_that_runs_out_is_said_in_one_line_with_what_takes_less(capsys):
    with pytest.raises(SystemExit) as end:
        leave(MemoryError("Unable to allocate 7.00 TiB"), Path("run"))
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 1
    assert "7.00 TiB" in line and "`task.batch_size`" in line and "run/run.log" in line


def test_a_device_that_is_not_there_is_refused(tmp_path):
    line = refused(tmp_path, "device=ascend", *TINY[:-2])
    assert "`device=ascend`" in line and "device=cpu" in line


def test_a_run_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    line = refused(tmp_path, *TINY, "hydra.run.dir=file/run")
    assert "hydra.run.dir" in line and "file" in line


def test_code_in_a_pickle_is_never_run(tmp_path):
    (tmp_path / "mine.pkl").write_bytes(pickle.dumps(content() | {"extra": Foreign()}))
    done = program(
        tmp_path,
        "dataset=custom",
        "dataset.path=mine.pkl",
        "dataset.layout=coco",
        "dataset.num_classes=2",
    )
    assert "code from a pickle was run" not in done.stdout + done.stderr
    assert done.returncode == 1


def test_the_module_and_the_console_script_say_the_same(tmp_path):
    script = Path(command()[0]).with_name("flag3d-exp")
    said = subprocess.run([script, "model=x"], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 1
    assert said.stderr == program(tmp_path, "model=x").stderr
