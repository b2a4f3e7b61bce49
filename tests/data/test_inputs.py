import json
import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording, recording_of
from flag3d_exp.data.inputs import brief, input_clips, read_inputs
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.source import Dataset
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

COCO = load_layout("coco")

KEYPOINT = np.arange(2 * 4 * 17 * 2, dtype=np.float32).reshape(2, 4, 17, 2)


CSV = """recording,frame,joint,x,y,score
one,0,nose,1.5,2.5,0.9
one,1,left_eye,3,4,
two,0,16,5,6,1
"""


def pickled(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def annotation(name: str) -> dict:
    return {"frame_dir": name, "keypoint": KEYPOINT, "total_frames": 4}


def own_names(name: str) -> dict:
    return {"name": name, "keypoints": KEYPOINT}


@pytest.mark.parametrize("made", [annotation, own_names])
@pytest.mark.parametrize("with_splits", [True, False])
def test_pickles_need_no_labels(tmp_path, made, with_splits):
    content = [made("a"), made("b")]
    content = {"split": {}, "annotations": content} if with_splits else content
    recordings = read_inputs(pickled(tmp_path / "x.pkl", content), COCO)
    assert [recording.name for recording in recordings] == ["a", "b"]
    np.testing.assert_array_equal(recordings[0].keypoints, KEYPOINT)


def test_a_single_annotation_is_a_recording(tmp_path):
    path = pickled(tmp_path / "x.pkl", annotation("a") | {"label": 99})
    (recording,) = read_inputs(path, COCO)
    assert recording.name == "a"


@pytest.mark.parametrize(
    "names", [("keypoint", "keypoint_score", "img_shape"), ("keypoints", "scores", "image_shape")]
)
def test_an_npz_is_named_after_its_file_and_may_hold_one_person(tmp_path, names):
    arrays = KEYPOINT[0], np.ones((4, 17)), (480, 854)
    np.savez(tmp_path / "squat.npz", **dict(zip(names, arrays, strict=True)))
    (recording,) = read_inputs(tmp_path / "squat.npz", COCO)
    assert recording.name == "squat"
    assert recording.keypoints.shape == (1, 4, 17, 2)
    assert recording.scores is not None and recording.scores.shape == (1, 4, 17)
    assert recording.image_shape == (480, 854)


def test_an_npz_that_can_be_trained_on_can_be_predicted(tmp_path):
    arrays = {"one": KEYPOINT[0], "one.scores": np.ones((4, 17)), "two": KEYPOINT}
    np.savez(tmp_path / "x.npz", **arrays)
    one, two = read_inputs(tmp_path / "x.npz", COCO)
    assert (one.name, one.keypoints.shape, one.scores.shape) == ("one", (1, 4, 17, 2), (1, 4, 17))
    assert (two.name, two.keypoints.shape, two.scores) == ("two", (2, 4, 17, 2), None)


def test_a_json_file_is_a_recording_a_list_of_them_or_a_request(tmp_path):
    one = {"keypoints": KEYPOINT[0].tolist(), "scores": np.ones((4, 17)).tolist()}
    two = {"name": "b", "keypoint": KEYPOINT.tolist(), "img_shape": [480, 640], "label": 7}
    (recording,) = read_inputs(written(tmp_path / "a.json", json.dumps(one)), COCO)
    assert (recording.name, recording.scores.shape) == ("a", (1, 4, 17))
    np.testing.assert_array_equal(recording.keypoints, KEYPOINT[:1])
    for content in ([one, two], {"inputs": [one, two]}):
        found = read_inputs(written(tmp_path / "a.json", json.dumps(content)), COCO)
        assert [recording.name for recording in found] == ["a-0", "b"]
        assert found[1].image_shape == (480, 640)


def test_a_csv_needs_no_labels_and_a_yaml_file_adds_what_it_lacks(tmp_path):
    one, two = read_inputs(written(tmp_path / "clips.csv", CSV), COCO)
    assert (one.name, one.keypoints.shape, one.image_shape) == ("one", (1, 2, 17, 2), None)
    assert one.keypoints[0, 1, 1].tolist() == [3, 4]
    assert one.scores[0].sum() == pytest.approx(1.9)
    assert two.keypoints[0, 0, 16].tolist() == [5, 6]
    described = written(tmp_path / "clips.yaml", "{data: clips.csv, image_shape: [480, 640]}")
    assert [recording.image_shape for recording in read_inputs(described, COCO)] == [(480, 640)] * 2
    described.write_text("{data: clips.csv, layout: openpose}")
    with pytest.raises(UserError, match="`layout` is openpose, but the network's is coco"):
        read_inputs(described, COCO)


def test_a_folder_is_read_file_by_file(tmp_path):
    np.savez(tmp_path / "b.npz", keypoint=KEYPOINT)
    pickled(tmp_path / "a.pkl", [annotation("z")])
    written(tmp_path / "c.csv", CSV)
    written(tmp_path / "D.JSON", json.dumps({"keypoints": KEYPOINT.tolist()}))
    written(tmp_path / "notes.txt", "not a recording")
    found = [recording.name for recording in read_inputs(tmp_path, COCO)]
    assert found == ["D", "z", "b", "one", "two"]


def test_more_pickles_are_read_than_files_may_be_open(tmp_path):
    for number in range(100):
        pickled(tmp_path / f"{number}.pkl", annotation(f"r{number}"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, limits[1]))
    try:
        recordings = read_inputs(tmp_path, COCO)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(recordings) == 100
    np.testing.assert_array_equal(recordings[99].keypoints, KEYPOINT)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        read_inputs(tmp_path / "nowhere.pkl", COCO)
    with pytest.raises(UserError, match=r"holds no file ending in \.pkl, \.pickle, \.npz"):
        read_inputs(tmp_path, COCO)
    with pytest.raises(UserError, match=r"x\.mat must be a folder or end in \.pkl"):
        read_inputs(written(tmp_path / "x.mat", ""), COCO)
    with pytest.raises(UserError, match="holds no recording"):
        read_inputs(pickled(tmp_path / "x.pkl", []), COCO)
    with pytest.raises(UserError, match="2 recordings are called 'a'"):
        read_inputs(pickled(tmp_path / "x.pkl", [annotation("a"), annotation("a")]), COCO)
    with pytest.raises(UserError, match="recording number 1: it must be a dict; got int"):
        read_inputs(pickled(tmp_path / "x.pkl", [annotation("a"), 3]), COCO)
    with pytest.raises(UserError, match="must hold annotations; got str"):
        read_inputs(pickled(tmp_path / "x.pkl", "text"), COCO)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2", "it is not JSON"),
        ("[]", "must hold a recording, an object with `keypoints`, or a list"),
        ('{"keypoints": [[[1, 2], [3]]]}', "`keypoints` must be numbers in nested lists"),
        ('{"keypoint": [[["a"]]]}', "`keypoint` must be numbers in nested lists"),
        ('{"points": [[[1, 2]]]}', "recording 'x': `keypoints` must be an array.*got nothing"),
        ('{"keypoints": [[[1, 2]]], "keypoint": [[[1, 2]]]}', "two names of one field"),
    ],
)
def test_a_broken_json_file_is_refused(tmp_path, text, expected):
    with pytest.raises(UserError, match=expected):
        read_inputs(written(tmp_path / "x.json", text), COCO)


def test_all_files_that_cannot_be_read_are_told_at_once(tmp_path):
    pickled(tmp_path / "a.pkl", [annotation("a"), 3])
    written(tmp_path / "b.npz", "no archive")
    written(tmp_path / "c.csv", CSV.replace("nose", "nosee"))
    pickled(tmp_path / "d.pkl", annotation("d"))
    with pytest.raises(UserError) as caught:
        read_inputs(tmp_path, COCO)
    text = str(caught.value)
    assert text.startswith("3 files can't be used: ")
    for said in ("a.pkl: recording number 1: it must be", "b.npz is not an", "Did you mean `nose`"):
        assert said in text
    assert "\n" not in text and "d.pkl" not in text


def test_broken_arrays_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, points=KEYPOINT[0, 0])
    with pytest.raises(UserError, match="`points` must be the keypoints of a recording"):
        read_inputs(path, COCO)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="is not an NPZ file of plain arrays"):
        read_inputs(path, COCO)


def test_recordings_with_too_few_frames_of_a_person_are_told():
    keypoints = np.ones((1, 12, 17, 2), np.float32)
    whole = Recording("whole", 0, keypoints)
    seldom = keypoints.copy()
    seldom[:, 3:] = 0
    assert brief([whole]) is None
    said = brief([whole, Recording("short", 0, seldom)])
    assert said is not None and said.startswith("1 of 2 recordings show a person in fewer than 8")
    assert "'short' (3)" in said


def test_all_recordings_that_do_not_fit_are_told_at_once():
    broken = KEYPOINT.copy()
    broken[0, 0, 0, 0] = np.nan
    recordings = [
        recording_of({"label": 0, "name": name, "keypoints": keypoints})
        for name, keypoints in (("a", broken), ("b", KEYPOINT), ("c", KEYPOINT[:, :, :5]))
    ]
    settings = Dataset("made", "x", "coco", 2, {}, num_channels=2)
    with pytest.raises(UserError) as caught:
        input_clips(recordings, settings, GraphPipeline("coco"), Stream("joint"))
    assert "2 recordings can't be used: 'a': it holds NaN" in str(caught.value)
    assert "'c': it has 5 joints" in str(caught.value)
