"""Several sources as one: classes matched by name, joints in one layout, names of their own."""

import pickle
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from flag3d_exp.config.checks import CONF
from flag3d_exp.data.annotations import Recording, open_annotations
from flag3d_exp.data.combined import Source, combined_content, windows
from flag3d_exp.errors import UserError
from flag3d_exp.tasks.combine import Combine

SEED: Any = SimpleNamespace(seed=0)  # what the task needs of an experiment


@pytest.fixture
def sources(tmp_path):
    """COCO joints of squat 0, run 1 and jump 2; MediaPipe's of leap 0 and crouch 1, longer."""

    def write(name, labels, num_joints, num_coordinates, num_frames, **splits):
        shape = (1, num_frames, num_joints, num_coordinates)
        rows = [
            {"name": f"r{n}", "label": label, "keypoints": np.full(shape, n + 1, np.float32)}
            for n, label in enumerate(labels)
        ]
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(pickle.dumps({"split": splits, "annotations": rows}))
        return str(path)

    video = write("video", [0, 1, 2], 17, 2, 4, train=["r0", "r1"], val=["r2"])
    phone = write("phone", [0, 1], 33, 3, 25, test=["r1"])
    return {
        "video": Source(
            *(video, "coco", ["squat", "run", "jump"]), {"jump": ["jump"], "squat": ["squat"]}
        ),
        "phone": Source(
            *(phone, "mediapipe", ["leap", "crouch"]),
            {"jump": ["leap"], "squat": ["crouch"]},
            to_layout="coco",
            num_coordinates=2,
            window=10,
        ),
    }


def test_classes_are_matched_by_name_and_recordings_named_after_their_source(sources):
    splits, recordings = combined_content(sources, ["jump", "squat"])
    assert splits == {
        "video_all": ("video-r0", "video-r2"),
        "video_train": ("video-r0",),  # of which `run` is not taken
        "video_val": ("video-r2",),
        "phone_all": tuple(f"phone-r{n}-{first}" for n in (0, 1) for first in (0, 10, 20)),
        "phone_test": ("phone-r1-0", "phone-r1-10", "phone-r1-20"),
    }
    labels = {recording.name: recording.label for recording in recordings}
    assert [labels[name] for name in ("video-r0", "video-r2", "phone-r0-0", "phone-r1-0")] == [
        *(1, 0, 0, 1)
    ]
    shapes = {recording.keypoints.shape[2:] for recording in recordings}
    assert shapes == {(17, 2)}
    subjects = {recording.name: recording.subject for recording in recordings}
    assert subjects["phone-r0-10"] == "phone-r0" and subjects["video-r0"] is None


def test_windows_leave_nothing_but_a_short_rest_out():
    frames = np.arange(1, 26, dtype=np.float32)[None, :, None, None].repeat(17, 2).repeat(2, 3)
    whole = Recording("r", 0, frames, scores=frames[..., 0], subject="s")
    cut = windows(whole, 10)
    assert [part.keypoints[0, :, 0, 0].tolist() for part in cut] == [
        list(range(1, 11)),
        list(range(11, 21)),
        list(range(21, 26)),
    ]
    assert [part.scores.shape[1] for part in cut if part.scores is not None] == [10, 10, 5]
    assert {part.subject for part in cut} == {"s"}
    assert [part.name for part in windows(whole, 11)] == ["r-0", "r-11"]  # 3 frames are left
    assert windows(whole, 25) == windows(whole, None) == [whole]
    frames[:, 10:20] = 0
    assert [part.name for part in windows(whole, 10)] == ["r-0", "r-20"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"taken": {"jmp": ["jump"]}}, "'jmp' is none of the classes jump, squat. Did you mean"),
        ({"taken": {"jump": ["jumps"]}}, "there is no class 'jumps' in `classes`. Did you mean"),
        ({"taken": {"jump": ["run"], "squat": ["run"]}}, "names class 'run' twice"),
        ({"classes": ["squat", "jump"]}, "names 2 labels, but .*video.pkl has label 2"),
        ({"taken": None, "classes": ["a", "b", "c"]}, "has no recording of the classes"),
        ({"shares": {"trian": 0.5}}, "has no split 'trian'. Did you mean `train`"),
        ({"left_out": {"trian": []}}, "`left_out`: .*has no split 'trian'. Did you mean `train`"),
        ({"taken": {"jump": []}}, "has no recording of the classes in `taken`"),
        ({"path": "nowhere.pkl"}, "nowhere.pkl is not there"),
    ],
)
def test_what_does_not_fit_a_source_is_refused_with_its_name(sources, change, expected):
    changed = sources | {"video": replace(sources["video"], **change)}
    with pytest.raises(UserError, match=f"^`task.sources.video`: .*{expected}"):
        combined_content(changed, ["jump", "squat"])


def test_classes_of_the_same_names_are_taken_if_nothing_else_is_said(sources):
    video = {"video": replace(sources["video"], taken=None)}
    splits, recordings = combined_content(video, ["jump", "squat"])
    assert splits["video_all"] == ("video-r0", "video-r2")
    assert [one.label for one in recordings] == [1, 0]


def test_a_share_of_each_class_stays_in_a_split_and_depends_on_the_seed_alone(tmp_path):
    rows = [
        {"name": f"r{n}", "label": n % 2, "keypoints": np.ones((1, 3, 17, 2), np.float32)}
        for n in range(40)
    ]
    content = {"split": {"train": [row["name"] for row in rows], "val": ["r0"]}}
    path = tmp_path / "many.pkl"
    path.write_bytes(pickle.dumps(content | {"annotations": rows}))
    source = Source(str(path), "coco", ["even", "odd"], shares={"train": 0.25})
    first, again, other = (
        combined_content({"a": source}, ["odd", "even"], seed=seed)[0] for seed in (1, 1, 2)
    )
    assert len(first["a_train"]) == 10 and len(first["a_all"]) == 40 and len(first["a_val"]) == 1
    assert sum(int(name[3:]) % 2 for name in first["a_train"]) == 5
    assert first == again != other
    with pytest.raises(UserError, match="`source.shares.train` must be > 0, <= 1; got 0"):
        replace(source, shares={"train": 0})


def test_classes_are_left_out_of_one_split_only(tmp_path):
    rows = [
        {"name": f"r{n}", "label": n % 3, "keypoints": np.ones((1, 3, 17, 2), np.float32)}
        for n in range(9)
    ]
    names = [row["name"] for row in rows]
    path = tmp_path / "three.pkl"
    path.write_bytes(pickle.dumps({"split": {"train": names, "val": names}, "annotations": rows}))
    source = Source(str(path), "coco", ["a", "b", "c"], left_out={"train": ["a", "c"]})
    splits, _ = combined_content({"s": source}, ["c", "b", "a"])
    assert splits["s_train"] == ("s-r1", "s-r4", "s-r7")
    assert len(splits["s_val"]) == len(splits["s_all"]) == 9
    merged = replace(source, taken={"x": ["a", "b"], "y": ["c"]}, left_out={"train": ["a"]})
    splits, _ = combined_content({"s": merged}, ["x", "y"])
    assert splits["s_train"] == ("s-r1", "s-r2", "s-r4", "s-r5", "s-r7", "s-r8")


def test_a_class_left_out_must_exist(sources):
    source = next(iter(sources.values()))
    with pytest.raises(UserError, match="`source.left_out.train`: there is no class 'jmp'"):
        replace(source, left_out={"train": ["jmp"]})
    with pytest.raises(UserError, match="`source.left_out.train=demo` names no choice"):
        replace(source, left_out={"train": "demo"})


def test_a_class_that_no_source_has_is_refused(sources):
    with pytest.raises(UserError, match="no source has recordings of lunge"):
        combined_content(sources, ["jump", "squat", "lunge"])


def test_the_task_writes_a_file_that_opens(sources, tmp_path, capsys):
    settings = {
        name: {key: value for key, value in vars(source).items() if value is not None}
        for name, source in sources.items()
    }
    output = tmp_path / "both.pkl"
    Combine(str(output), ["jump", "squat"], settings)(SEED)
    made = open_annotations(output, None)
    assert len(made.recordings("phone_test")) == 3 and len(made.all) == 8
    assert "phone_test                3 recordings: jump 0, squat 3" in capsys.readouterr().out
    with pytest.raises(UserError, match="`task.output` must be another file than the one of video"):
        Combine(settings["video"]["path"], ["jump", "squat"], settings)(SEED)
    bad = settings | {"phone": settings["phone"] | {"windows": 3}}
    with pytest.raises(UserError, match="`task.sources.phone`: unknown key `windows`"):
        Combine(str(output), ["jump", "squat"], bad)(SEED)
    bad = settings | {"phone": settings["phone"] | {"window": 0}}
    with pytest.raises(UserError, match="`task.sources.phone.window` must be at least 1; got 0"):
        Combine(str(output), ["jump", "squat"], bad)(SEED)


def test_the_classes_of_shipped_sources_are_those_of_their_datasets():
    def conf(group, choice):
        return yaml.safe_load((CONF / group / f"{choice}.yaml").read_text())

    demo, both = conf("task", "combine_demo_real"), conf("task", "combine_penn_repcount")
    assert demo["sources"]["demo"]["classes"] == conf("dataset", "demo_in_domain")["classes"]
    for task, dataset in ((demo, "demo_real"), (both, "penn_repcount")):
        assert task["sources"]["penn"]["classes"] == conf("dataset", "penn_action")["classes"]
        assert task["classes"] == conf("dataset", dataset)["classes"]
        for source in task["sources"].values():
            made = Source(**source)
            assert set(made.taken or ()) == set(task["classes"]) and made.labels(task["classes"])
