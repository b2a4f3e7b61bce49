import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.inputs import read_inputs, read_request, request_fields
from flag3d_exp.errors import UserError

KEYPOINT = np.arange(2 * 4 * 17 * 2, dtype=np.float32).reshape(2, 4, 17, 2)


def pickled(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def annotation(name: str) -> dict:
    return {"frame_dir": name, "keypoint": KEYPOINT, "total_frames": 4}


@pytest.mark.parametrize(
    "content",
    [
        {"split": {}, "annotations": [annotation("a"), annotation("b")]},
        [annotation("a"), annotation("b")],
    ],
)
def test_pickles_need_no_labels(tmp_path, content):
    recordings = read_inputs(pickled(tmp_path / "x.pkl", content))
    assert [recording.name for recording in recordings] == ["a", "b"]
    np.testing.assert_array_equal(recordings[0].keypoints, KEYPOINT)


def test_a_single_annotation_is_a_recording(tmp_path):
    (recording,) = read_inputs(pickled(tmp_path / "x.pkl", annotation("a") | {"label": 99}))
    assert recording.name == "a"


def test_an_npz_is_named_after_its_file_and_may_hold_one_person(tmp_path):
    path = tmp_path / "squat.npz"
    np.savez(path, keypoint=KEYPOINT[0], keypoint_score=np.ones((4, 17)), img_shape=(480, 854))
    (recording,) = read_inputs(path)
    assert recording.name == "squat"
    assert recording.keypoints.shape == (1, 4, 17, 2)
    assert recording.scores is not None and recording.scores.shape == (1, 4, 17)
    assert recording.image_shape == (480, 854)


def test_a_folder_is_read_file_by_file(tmp_path):
    np.savez(tmp_path / "b.npz", keypoint=KEYPOINT)
    pickled(tmp_path / "a.pkl", [annotation("z")])
    (tmp_path / "notes.txt").write_text("not a recording")
    assert [recording.name for recording in read_inputs(tmp_path)] == ["z", "b"]


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        read_inputs(tmp_path / "nowhere.pkl")
    with pytest.raises(UserError, match=r"holds no file ending in \.pkl, \.pickle, \.npz"):
        read_inputs(tmp_path)
    with pytest.raises(UserError, match="holds no recording"):
        read_inputs(pickled(tmp_path / "x.pkl", []))
    with pytest.raises(UserError, match="2 recordings are called 'a'"):
        read_inputs(pickled(tmp_path / "x.pkl", [annotation("a"), annotation("a")]))
    with pytest.raises(UserError, match="recording number 1: it must be a dict; got int"):
        read_inputs(pickled(tmp_path / "x.pkl", [annotation("a"), 3]))
    with pytest.raises(UserError, match="must hold annotations; got str"):
        read_inputs(pickled(tmp_path / "x.pkl", "text"))


def test_broken_arrays_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, points=KEYPOINT)
    with pytest.raises(UserError, match="has no array `keypoint`; it has points"):
        read_inputs(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"is not an \.npz of arrays"):
        read_inputs(path)
    broken = KEYPOINT.copy()
    broken[0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="'a' holds NaN"):
        read_inputs(pickled(tmp_path / "y.pkl", annotation("a") | {"keypoint": broken}))


def test_a_request_holds_what_the_recording_held():
    scores = np.full((2, 4, 17), 0.1, np.float32)
    recording = Recording("a", 0, KEYPOINT, scores, (480, 640))
    fields = json.loads(json.dumps(request_fields(recording)))
    found = read_request(fields, 7)
    assert (found.name, found.image_shape, found.finite) == ("a", (480, 640), True)
    np.testing.assert_array_equal(found.keypoints, KEYPOINT)
    np.testing.assert_array_equal(found.scores, scores)


def test_requests_need_keypoints_only():
    absent = {"scores": None, "image_shape": float("nan"), "name": float("nan")}
    found = read_request({"keypoints": KEYPOINT.tolist()} | absent, 7)
    assert (found.name, found.scores, found.image_shape) == ("7", None, None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "has no `keypoints`"),
        ({"keypoints": [[1, 2], [3]]}, "(persons, frames, joints, coordinates)"),
        ({"keypoints": [[["x"]]]}, "(persons, frames, joints, coordinates)"),
        ({"keypoints": []}, "(persons, frames, joints, coordinates)"),
        ({"scores": [[[1]]]}, "must have shape (2, 4, 17)"),
        ({"scores": 0.5}, "(persons, frames, joints)"),
        ({"image_shape": [1, 2, 3]}, "(height, width)"),
        ({"image_shape": [0, 640]}, "must be pixels"),
    ],
)
def test_wrong_fields_of_a_request_are_named(fields, said):
    good = {} if fields == {} else {"keypoints": KEYPOINT.tolist()}
    with pytest.raises(UserError) as caught:
        read_request({"name": "a"} | good | fields, 0)
    assert "recording 'a'" in str(caught.value)
    assert said in str(caught.value)
