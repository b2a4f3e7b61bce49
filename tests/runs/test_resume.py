import logging

import numpy as np
import pytest

from flag3d_exp.engine.checkpoint import Checkpoint, save_checkpoint
from flag3d_exp.errors import UserError
from flag3d_exp.runs.resume import newest


def saved(folder, count: int) -> None:
    for value in range(1, count + 1):
        weights = {"w": np.full(3, value, np.float32)}
        save_checkpoint(folder / "checkpoints" / "last.npz", Checkpoint(weights), keep=3)


def test_the_newest_checkpoint_is_taken(tmp_path):
    saved(tmp_path, 3)
    found = newest(tmp_path)
    assert found is not None and found.weights["w"][0] == 3


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_taken(tmp_path, caplog):
    saved(tmp_path, 3)
    last = tmp_path / "checkpoints" / "last.npz"
    last.write_bytes(last.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        found = newest(tmp_path)
    assert found is not None and found.weights["w"][0] == 2
    assert "last.npz" in caplog.text and "the one before" in caplog.text


def test_nothing_but_damage_is_refused(tmp_path):
    saved(tmp_path, 2)
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="not a checkpoint"):
        newest(tmp_path)


def test_a_folder_without_checkpoints_starts_afresh(tmp_path):
    assert newest(tmp_path) is None
