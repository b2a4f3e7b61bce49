"""`task=inspect` and `task=convert`, as a user runs them."""

import json
import pickle
import shlex

import numpy as np
import pytest
from cli import refused, succeeded

from flag3d_exp.data.annotations import open_annotations
from flag3d_exp.errors import UserError
from flag3d_exp.tasks.inspect import Inspect


def write(path, broken=False):
    rng = np.random.default_rng(0)
    names = [f"clip{n}" for n in range(8)]
    annotations = [
        {
            "frame_dir": name,
            "label": number % 2,
            "keypoint": rng.uniform(0, 400, (1, 20, 17, 2)).astype(np.float16),
            "keypoint_score": np.ones((1, 20, 17), np.float16),
            "img_shape": (480, 854),
        }
        for number, name in enumerate(names)
    ]
    if broken:
        annotations[5]["keypoint"][0, 3, 2, 1] = np.nan
    path.write_bytes(
        pickle.dumps({"split": {"train": names[:4], "val": names[4:]}, "annotations": annotations})
    )


SETTINGS = (
    "dataset=custom",
    "dataset.path=mine.pkl",
    "dataset.layout=coco",
    "dataset.num_classes=2",
    "dataset.score_channel=true",
    "dataset.normalise=image",
    "hydra.run.dir=seen",
)


def test_a_good_dataset_is_shown_and_logged(tmp_path):
    write(tmp_path / "mine.pkl")
    told = succeeded(tmp_path, "task=inspect", *SETTINGS, "augment=strong", "task.recording=clip6")
    assert "20 to 20 frames" in told
    folder = tmp_path / "seen"
    for name in ("sheet_1.png", "augmented.png", "recording.gif", "viewer.html", "findings.json"):
        assert (folder / name).stat().st_size > 50
    assert str(folder / "sheet_1.png") in told and str(folder / "viewer.html") in told
    assert '"title":"1: clip6"' not in told
    assert "clip6" in (folder / "viewer.html").read_text().split('"title":')[1][:40]
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'flag3d_exp'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["findings/error"] == 0
    logged = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {
        "sheet_1.png",
        "augmented.png",
        "recording.gif",
        "viewer.html",
        "findings.json",
    } <= logged


def test_a_dataset_that_can_not_be_trained_on_ends_in_one_line(tmp_path):
    write(tmp_path / "mine.pkl", broken=True)
    line = refused(tmp_path, "task=inspect", "tracking=none", *SETTINGS)
    assert "training on custom would be wrong (1 error)" in line
    assert "NaN" in line
    findings = json.loads((tmp_path / "seen" / "findings.json").read_text())["findings"]
    assert findings[0]["recordings"] == ["clip5"]
    assert (tmp_path / "seen" / "viewer.html").is_file()


def test_wrong_settings_are_refused(tmp_path):
    write(tmp_path / "mine.pkl")
    annotations = open_annotations(tmp_path / "mine.pkl", None)
    with pytest.raises(UserError, match="`task.recording`: .*'clip66'. Did you mean `clip6`"):
        Inspect(recording="clip66").chosen_recording(annotations.by_name, annotations.all)
    with pytest.raises(UserError, match="`task.split` must be one of train, val; got 'test'"):
        Inspect(split="test").shown_recordings({"train": (), "val": ()})
    with pytest.raises(UserError, match="`task.viewer_recordings` must be at least 1"):
        Inspect(viewer_recordings=0)


def test_a_converted_table_passes_the_inspection_that_is_suggested(tmp_path):
    rows = ["recording,label,frame,joint,x,y,score"]
    rng = np.random.default_rng(1)
    for clip in range(4):
        for frame in range(12):
            for joint in range(17):
                x, y = rng.uniform(0, 400, 2)
                rows.append(f"clip{clip},{clip % 2},{frame},{joint},{x:.2f},{y:.2f},0.9")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    (tmp_path / "clips.yaml").write_text(
        "{data: clips.csv, layout: coco, image_shape: [480, 854],"
        " splits: {my_train: [clip0, clip1], my_val: [clip2, clip3]}}"
    )
    told = succeeded(tmp_path, "task=convert", "task.source=clips.yaml", "task.output=mine.pkl")
    assert "4 recordings (my_train 2, my_val 2) in mine.pkl" in told
    command = shlex.split(told.partition("To look at them:")[2].splitlines()[1])
    assert command[:3] == ["python", "-m", "flag3d_exp"]
    told = succeeded(tmp_path, *command[3:], "tracking=none", "hydra.run.dir=seen")
    assert "12 to 12 frames" in told


def test_a_source_is_not_overwritten(tmp_path):
    write(tmp_path / "mine.pkl")
    before = (tmp_path / "mine.pkl").read_bytes()
    line = refused(tmp_path, "task=convert", "task.source=mine.pkl", "task.output=./mine.pkl")
    assert "`task.output` must be another file" in line
    assert (tmp_path / "mine.pkl").read_bytes() == before
