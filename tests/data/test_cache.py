"""Converted files: read instead of the pickle, once and for all processes."""

import logging
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from flag3d_exp.data import annotations as module
from flag3d_exp.data import cache
from flag3d_exp.data.annotations import open_annotations
from flag3d_exp.errors import UserError


def write(path, offset=0.0):
    draw = np.random.default_rng(0)
    annotations = [
        {
            "frame_dir": f"recording {n}",
            "label": n,
            "keypoint": draw.normal(offset, 1, (1 + n % 2, 5 + n, 17, 2)).astype(dtype),
            "keypoint_score": None if n == 3 else draw.uniform(0, 1, (1 + n % 2, 5 + n, 17)),
            "img_shape": (480, 854) if n else None,
            "subject": n if n % 2 else None,
        }
        for n, dtype in enumerate(["f2", "f4", "f8", ">f4", "i4"])
    ]
    annotations[2]["keypoint"][0, 0, 0, 0] = np.nan
    annotations[1]["keypoint"] = np.asfortranarray(annotations[1]["keypoint"])
    names = [annotation["frame_dir"] for annotation in annotations]
    path.write_bytes(pickle.dumps({"split": {"a": names[:2]}, "annotations": annotations}))
    return annotations


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "data.pkl")
    return tmp_path / "data.pkl"


def test_the_converted_file_holds_what_the_pickle_holds(path, tmp_path):
    expected = write(path)
    folder = str(tmp_path / "cache")
    for opened in (open_annotations(path, None), *(open_annotations(path, folder),) * 2):
        assert opened.splits == {"a": ("recording 0", "recording 1")}
        assert len(opened.all) == len(expected)
        for recording, annotation in zip(opened.all, expected, strict=True):
            assert recording.name == annotation["frame_dir"]
            assert recording.label == annotation["label"]
            np.testing.assert_array_equal(
                recording.keypoints, annotation["keypoint"].astype(np.float32)
            )
            if annotation["keypoint_score"] is None:
                assert recording.scores is None
            else:
                scores = annotation["keypoint_score"].astype(np.float32)
                np.testing.assert_array_equal(recording.scores, scores)
            assert recording.image_shape == annotation["img_shape"]
            assert recording.subject == (
                str(annotation["subject"]) if recording.label % 2 else None
            )
            assert recording.finite == (recording.label != 2)


def test_later_starts_do_not_read_the_pickle(path, tmp_path, monkeypatch):
    folder = str(tmp_path / "cache")
    first = open_annotations(path, folder)

    def refuse(*_):
        raise AssertionError("read again")

    monkeypatch.setattr(module, "read_annotations", refuse)
    monkeypatch.setattr(cache.files, "sha256", refuse)
    assert open_annotations(path, folder).digest == first.digest


def test_a_changed_file_is_converted_anew(path, tmp_path):
    folder = str(tmp_path / "cache")
    first = open_annotations(path, folder)
    write(path, offset=5.0)
    os.utime(path, (1, 1))
    second = open_annotations(path, folder)
    assert second.digest != first.digest
    assert (second.all[0].keypoints != first.all[0].keypoints).any()


def test_the_digest_is_that_of_the_file(path, tmp_path):
    expected = subprocess.run(["sha256sum", path], capture_output=True, check=True, text=True)
    digest = expected.stdout.split()[0]
    assert open_annotations(path, None).digest == digest
    assert open_annotations(path, str(tmp_path / "cache")).digest == digest


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_a_damaged_cache_is_made_anew(path, tmp_path, caplog, keep):
    folder = tmp_path / "cache"
    expected = open_annotations(path, str(folder)).all[0].keypoints.copy()
    (stored,) = folder.glob("*.recordings")
    stored.write_bytes(stored.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        opened = open_annotations(path, str(folder))
    assert "the cache is written again" in caplog.text
    np.testing.assert_array_equal(opened.all[0].keypoints, expected)


def test_a_changed_bit_of_the_index_is_noticed(path, tmp_path, caplog):
    folder = tmp_path / "cache"
    expected = open_annotations(path, str(folder))
    (stored,) = folder.glob("*.recordings")
    content = bytearray(stored.read_bytes())
    begin, length, _ = cache.TAIL.unpack(content[-cache.TAIL.size :])
    for at in range(begin, begin + length, 7):
        content[at] ^= 1
        stored.write_bytes(content)
        content[at] ^= 1
        opened = open_annotations(path, str(folder))
        assert "does not match its checksum; the cache is written again" in caplog.text
        assert [one.name for one in opened.all] == [one.name for one in expected.all]
        caplog.clear()


def test_a_folder_that_can_not_be_written_is_named(path, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="`dataset.cache`: .*file/cache can't be used"):
        open_annotations(path, str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(open_annotations(path, "auto").all) == 5
    assert "can't be used" in caplog.text


def test_the_place_of_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder("auto") == tmp_path / "flag3d_exp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder("auto") == tmp_path / ".cache" / "flag3d_exp"
    assert cache.folder("~/mine") == tmp_path / "mine"


def test_processes_may_convert_at_once(path, tmp_path):
    folder = tmp_path / "cache"
    code = (
        "import sys; from flag3d_exp.data.annotations import open_annotations;"
        "print(open_annotations(sys.argv[1], sys.argv[2]).all[4].keypoints.sum())"
    )
    command = [sys.executable, "-c", code, str(path), str(folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    sums = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(sums) == 1
    assert sorted(file.suffix for file in folder.iterdir()) == [".json", ".recordings"]


def test_a_failed_conversion_leaves_nothing_behind(tmp_path):
    place = tmp_path / "x.recordings"
    with pytest.raises(AttributeError):
        cache.write(place, {}, [object()])
    assert list(tmp_path.iterdir()) == []
