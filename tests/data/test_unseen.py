"""`dataset.unseen`: what is trained on, what is evaluated, and that nothing else is chosen by."""

import pickle

import numpy as np
import pytest

from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.source import Dataset, build
from flag3d_exp.data.transforms import Stream
from flag3d_exp.data.unseen import evaluated_splits
from flag3d_exp.errors import UserError

CLASSES = ["walk", "run", "jump", "wave"]
SPLITS = {"train": "one", "val": "two", "test": "three"}


def settings(path, **changes) -> Dataset:
    known = {"unseen": ["jump", "wave"], "classes": CLASSES, "cache": None}
    return Dataset("x", str(path), "nturgb+d", 4, SPLITS, **known | changes)


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "x.pkl", [0, 1, 2, 3])


def written(path, labels):
    """A file of twelve recordings, whose labels repeat."""
    annotations = [
        {
            "frame_dir": f"r{n}",
            "label": labels[n % 4],
            "keypoint": np.full((1, 5, 25, 3), n, np.float32),
        }
        for n in range(12)
    ]
    names = [f"r{n}" for n in range(12)]
    split = {"one": names[:4], "two": names[4:8], "three": names[8:]}
    path.write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    return path


def names(path, **changes):
    made = build(settings(path, **changes), GraphPipeline("nturgb+d", clip_len=4), Stream("j"), 0)
    return {split: clips.names for split, clips in made.items()}


def test_unseen_classes_are_not_trained_on_and_evaluated_apart(path):
    assert names(path) == {
        "train": ("r0", "r1"),
        "val": ("r4", "r5"),
        "val_unseen": ("r6", "r7"),
        "test": ("r8", "r9"),
        "test_unseen": ("r10", "r11"),
    }
    assert list(names(path, unseen=None)) == list(SPLITS)


def test_what_epochs_are_chosen_by_does_not_depend_on_the_labels_of_unseen_classes(path, tmp_path):
    """They are chosen by `val`, see `task.objective`, and so are temperatures."""
    other = written(tmp_path / "y.pkl", [0, 1, 3, 2])
    pipeline, stream = GraphPipeline("nturgb+d", clip_len=4), Stream("j")
    one, two = (build(settings(file), pipeline, stream, 0) for file in (path, other))
    for split in ("train", "val", "test"):
        assert one[split].names == two[split].names
        np.testing.assert_array_equal(one[split].labels, two[split].labels)
    assert one["val_unseen"].labels.tolist() == [2, 3]
    assert two["val_unseen"].labels.tolist() == [3, 2]


def test_single_splits_of_unseen_classes_can_be_built(path):
    pipeline = GraphPipeline("nturgb+d", clip_len=4)
    assert list(build(settings(path), pipeline, Stream("j"), 0, ["test_unseen"])) == ["test_unseen"]
    with pytest.raises(UserError, match="has no 'val_unseen'; there: train, val, test"):
        build(settings(path, unseen=None), pipeline, Stream("j"), 0, ["val_unseen"])


def test_without_unseen_classes_the_splits_stay_as_they_are():
    assert evaluated_splits(SPLITS, None) == SPLITS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unseen": ["jumps"]}, "'jumps' is not in `dataset.classes`.*`jump`"),
        ({"unseen": []}, "at least one class, or be null"),
        ({"unseen": ["jump", "jump"]}, "names a class twice"),
        ({"unseen": CLASSES[1:]}, "must leave at least 2 of 4 classes"),
        ({"classes": None}, "`dataset.classes`, which is null"),
    ],
)
def test_unseen_classes_that_can_t_be_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        settings("x.pkl", **changes)


def test_a_split_of_the_name_that_unseen_classes_take_is_refused():
    splits = SPLITS | {"val_unseen": "four"}
    with pytest.raises(UserError, match="`dataset.splits` has 'val_unseen'.*call it otherwise"):
        Dataset("x", "x.pkl", "nturgb+d", 4, splits, classes=CLASSES, unseen=["jump"])


def test_a_split_without_recordings_of_unseen_classes_is_refused(tmp_path):
    with pytest.raises(UserError, match="split 'val' has no recording of unseen classes"):
        names(written(tmp_path / "z.pkl", [0, 1, 1, 0]))
