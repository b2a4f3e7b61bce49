import errno
import os
import zipfile

import numpy as np
import pytest

from flag3d_exp.engine.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_meta,
    save_checkpoint,
)
from flag3d_exp.errors import UserError


def checkpoint(value: float = 1.0) -> Checkpoint:
    return Checkpoint(
        weights={"head.weight": np.full((2, 3), value, np.float32)},
        optimizer={"accum.head.weight": np.zeros((2, 3), np.float32), "step": np.array(7)},
        ema={"head.weight": np.full((2, 3), value / 2, np.float32)},
        meta={"config": "seed: 1\n", "progress": {"epoch": 3}},
    )


def test_what_is_saved_comes_back(tmp_path):
    save_checkpoint(tmp_path / "last.npz", checkpoint())
    found = load_checkpoint(tmp_path / "last.npz")
    assert found.meta == checkpoint().meta
    for name, array in checkpoint().arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array)
        assert found.arrays()[name].dtype == array.dtype
    assert load_meta(tmp_path / "last.npz")["progress"] == {"epoch": 3}


def test_predecessors_are_kept_in_order(tmp_path):
    for value in (1.0, 2.0, 3.0, 4.0):
        save_checkpoint(tmp_path / "last.npz", checkpoint(value), keep=3)
    names = ["last.npz", "last-1.npz", "last-2.npz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    kept = [load_checkpoint(tmp_path / name).weights["head.weight"][0, 0] for name in names]
    assert kept == [4.0, 3.0, 2.0]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "last.npz"
    save_checkpoint(path, checkpoint(1.0))

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"the disk of `{tmp_path}` is full"):
        save_checkpoint(path, checkpoint(2.0))
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["last.npz"]
    assert load_checkpoint(path).weights["head.weight"][0, 0] == 1.0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "last.npz"
    save_checkpoint(path, checkpoint())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


def test_every_flipped_byte_of_the_arrays_is_noticed_or_harmless(tmp_path):
    path = tmp_path / "last.npz"
    save_checkpoint(path, checkpoint())
    whole = path.read_bytes()
    expected = checkpoint().arrays()
    num_refused = 0
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            found = load_checkpoint(path)
        except UserError:
            num_refused += 1
            continue
        for name, array in expected.items():
            np.testing.assert_array_equal(found.arrays()[name], array)
    assert num_refused > len(whole) / 7 / 2


def test_other_files_are_refused_in_one_line(tmp_path):
    other = tmp_path / "other.npz"
    np.savez(other, x=np.zeros(3))
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, meta=np.array([{"a": 1}], dtype=object))
    text = tmp_path / "text.npz"
    text.write_text("hello")
    empty = tmp_path / "empty.npz"
    with zipfile.ZipFile(empty, "w"):
        pass
    for path in (other, pickled, text, empty, tmp_path):
        with pytest.raises(UserError, match="not a checkpoint") as caught:
            load_checkpoint(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="There is no checkpoint"):
        load_checkpoint(tmp_path / "absent.npz")


def test_arrays_that_were_exchanged_are_noticed(tmp_path):
    path = tmp_path / "last.npz"
    save_checkpoint(path, checkpoint())
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["weights/head.weight"] = arrays["weights/head.weight"] + 1
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="checksum"):
        load_checkpoint(path)
