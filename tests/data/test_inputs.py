import pickle
from pathlib import Path

import numpy as np
import pytest

from flag3d_exp.data.inputs import read_inputs
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
