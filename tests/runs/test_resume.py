import json
import logging

import numpy as np
import pytest
from engine.toy import Linear, train_step

from flag3d_exp.engine.checkpoint import Checkpoint, save_checkpoint
from flag3d_exp.errors import UserError
from flag3d_exp.runs.resume import initialise, newest, restore


def saved(folder, count: int) -> None:
    for value in range(1, count + 1):
        weights = {"w": np.full(3, value, np.float32)}
        save_checkpoint(folder / "checkpoints" / "last.npz", Checkpoint(weights), keep=3)


def values(model) -> dict[str, np.ndarray]:
    return {p.name: p.asnumpy().copy() for p in model.get_parameters()}


def of_classes(folder, num_classes: int) -> str:
    """A run folder with a checkpoint of the toy for so many classes, all its weights 7."""
    weights = {name: np.full_like(value, 7) for name, value in values(Linear(num_classes)).items()}
    save_checkpoint(folder / "checkpoints" / "best.npz", Checkpoint(weights))
    return str(folder)


@pytest.mark.parametrize(
    ("num_classes", "head", "kept"), [(2, "auto", True), (3, "auto", False), (2, "skip", False)]
)
def test_a_head_that_does_not_fit_is_left_out_and_said_so(
    tmp_path, caplog, num_classes, head, kept
):
    model = Linear(2)
    before = values(model)
    with caplog.at_level(logging.INFO):
        initialise(model, of_classes(tmp_path, num_classes), head=head)
    after = values(model)
    assert (after["running_mean"] == 7).all()
    expected = np.full_like(before["head.weight"], 7) if kept else before["head.weight"]
    assert (after["head.weight"] == expected).all()
    assert ("is left out" in caplog.text) is not kept
    assert ("`head.bias` is (3,) there, (2,) here" in caplog.text) is (num_classes == 3)


def of_dataset(name, classes=None) -> dict:
    return {"config": f"dataset: {json.dumps({'name': name, 'classes': classes})}"}


@pytest.mark.parametrize(
    ("theirs", "own", "left_out"),
    [
        (of_dataset("a", ["sit", "run"]), of_dataset("b", ["sit", "run"]), None),
        (of_dataset("a", ["sit", "run"]), of_dataset("a", ["run", "sit"]), "label 0 is sit there"),
        (of_dataset("a", ["sit", "run"]), of_dataset("a"), "label 0 is sit there, without a name"),
        (of_dataset("a"), of_dataset("a"), None),
        (of_dataset("a"), of_dataset("b"), "the classes of a, not b"),
        ({}, of_dataset("b"), None),
    ],
)
def test_a_head_of_the_same_shape_for_other_classes_is_left_out(
    tmp_path, caplog, theirs, own, left_out
):
    model = Linear(2)
    weights = {name: np.full_like(value, 7) for name, value in values(model).items()}
    save_checkpoint(tmp_path / "checkpoints" / "best.npz", Checkpoint(weights, meta=theirs))
    with caplog.at_level(logging.INFO):
        initialise(model, str(tmp_path), meta=own)
    assert (values(model)["head.weight"] == 7).all() is np.bool_(left_out is None)
    assert (left_out or "") in caplog.text


def test_a_head_to_keep_must_fit(tmp_path):
    with pytest.raises(UserError, match=r"`task.init_from`: .*head.bias \(3,\) instead of \(2,\)"):
        initialise(Linear(2), of_classes(tmp_path, 3), head="keep")


def test_a_backbone_of_another_shape_is_refused_whatever_the_head(tmp_path):
    folder = of_classes(tmp_path, 2)
    weights = values(Linear(2)) | {"running_mean": np.zeros(5, np.float32)}
    save_checkpoint(tmp_path / "checkpoints" / "best.npz", Checkpoint(weights))
    with pytest.raises(UserError, match="running_mean"):
        initialise(Linear(2), folder, head="skip")


def test_a_checkpoint_of_another_version_is_named_in_one_line(tmp_path):
    step = train_step()
    meta = {"progress": {"epoch": 1, "interval": {"num_correct": 3}, "running": {}}}
    save_checkpoint(
        tmp_path / "checkpoints" / "last.npz", Checkpoint(values(step.model), meta=meta)
    )
    before = values(step.model)
    with pytest.raises(UserError, match="another version of this program"):
        restore(tmp_path, step.model, step, {})
    assert all((before[name] == value).all() for name, value in values(step.model).items())


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
    assert "last.npz" in caplog.text and "the previous checkpoint" in caplog.text


def test_nothing_but_damage_is_refused(tmp_path):
    saved(tmp_path, 2)
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="not a checkpoint"):
        newest(tmp_path)


def test_a_folder_without_checkpoints_starts_afresh(tmp_path):
    assert newest(tmp_path) is None
