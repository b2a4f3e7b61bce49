"""Folds over subjects: who is left out, of which splits, and what is refused."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flag3d_exp.data.annotations import Annotations, Recording
from flag3d_exp.data.folds import by_numbers, leave_out, subject
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.source import Dataset, build
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError

KEYPOINTS = np.ones((1, 3, 25, 3), np.float32)
SPLITS = {"train": "train", "val": "val"}


def annotations(subjects: dict[str, str | None], **splits: list[str]) -> Annotations:
    recordings = [Recording(n, 0, KEYPOINTS, subject=s) for n, s in subjects.items()]
    return Annotations(Path("x.pkl"), "", {k: tuple(v) for k, v in splits.items()}, recordings)


@pytest.fixture
def four():
    """Subjects 1, 2 and 10 of train and val, and 2 and 11 in another sensor's split."""
    subjects = {"a1": "1", "b1": "1", "a2": "2", "a10": "10", "k2": "2", "k11": "11"}
    return annotations(subjects, train=["a1", "b1", "a2"], val=["a10"], kinect=["k2", "k11"])


def test_each_fold_validates_on_one_subject_and_trains_on_the_others(four):
    found = [leave_out(four, SPLITS, number) for number in range(3)]
    assert [fold.groups for fold in found] == [("1",), ("2",), ("10",)]  # as numbers
    assert [fold.splits["val"] for fold in found] == [("a1", "b1"), ("a2",), ("a10",)]
    assert [fold.splits["train"] for fold in found] == [
        ("a2", "a10"),
        ("a1", "b1", "a10"),
        ("a1", "b1", "a2"),
    ]


def test_further_splits_keep_nobody_who_is_trained_on(four):
    splits = SPLITS | {"out_domain": "kinect"}
    assert leave_out(four, splits, 1).splits["out_domain"] == ("k2", "k11")
    assert leave_out(four, splits, 0).splits["out_domain"] == ("k11",)
    only = replace(four, splits=four.splits | {"kinect": ("k2",)})
    with pytest.raises(UserError, match="leave the split out by `~dataset.splits.out_domain`"):
        leave_out(only, splits, 0)


def test_groups_are_dealt_in_turn_to_fewer_folds(four):
    assert leave_out(four, SPLITS, 0, num_folds=2).groups == ("1", "10")
    assert leave_out(four, SPLITS, 1, num_folds=2).groups == ("2",)


def test_one_split_may_be_divided():
    whole = annotations({"x": "p", "y": "q"}, all=["x", "y"])
    found = leave_out(whole, {"train": "all", "val": "all"}, 1)
    assert found.splits == {"train": ("x",), "val": ("y",)}


@pytest.mark.parametrize(("pattern", "group"), [(r"_(s\d+)_", "s2"), (r"s\d+", "s2")])
def test_a_pattern_finds_the_group_in_the_name(pattern, group):
    names = ["m1_s1_e1", "m1_s2_e1", "m2_s1_e1"]
    named = annotations(dict.fromkeys(names), train=names[:2], val=names[2:])
    found = leave_out(named, SPLITS, 1, pattern)
    assert found.groups == (group,)
    assert found.splits["val"] == ("m1_s2_e1",)


def test_names_of_ntu_and_flag3d_say_the_subject():
    for name, person in {
        "S001C002P003R001A004": "P003",
        "PLAY_A001_V001_R001_S001": "PLAY",
    }.items():
        assert subject(Recording(name, 0, KEYPOINTS)) == person
    assert subject(Recording("S001C002P003R001A004", 0, KEYPOINTS, subject="7")) == "7"
    assert subject(Recording("squat 4", 0, KEYPOINTS)) is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((3,), r"`fold` must be from 0 to 2, for 3 groups \(1, 2, 10\); got 3"),
        ((0, "subject", 4), "`dataset.num_folds` must be at most 3"),
        ((0, "z"), "4 recordings have names without the pattern `dataset.groups=z`, such as 'a1'"),
    ],
)
def test_what_makes_no_fold_is_refused(four, arguments, expected):
    with pytest.raises(UserError, match=expected):
        leave_out(four, SPLITS, *arguments)


def test_recordings_without_subject_and_splits_without_train_are_refused(four):
    with pytest.raises(UserError, match="1 recordings have no `subject`; give a pattern"):
        leave_out(annotations({"x": None}, train=["x"], val=["x"]), SPLITS, 0)
    with pytest.raises(UserError, match="two groups or more .*; all are of p"):
        leave_out(annotations({"x": "p"}, train=["x"], val=["x"]), SPLITS, 0)
    with pytest.raises(UserError, match="`fold` needs `train` and `val`.*; got test"):
        leave_out(four, {"test": "val"}, 0)


def test_numbers_within_names_are_sorted_as_numbers():
    assert sorted(["P10", "P9", "9", "a"], key=by_numbers) == ["9", "P9", "P10", "a"]


def test_a_dataset_with_a_fold_makes_clips_of_its_splits(tmp_path):
    rows = [
        {"name": f"r{n}", "label": 0, "keypoints": KEYPOINTS, "subject": n % 3} for n in range(6)
    ]
    split = {"one": [r["name"] for r in rows[:4]], "two": [r["name"] for r in rows[4:]]}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"split": split, "annotations": rows}))
    settings = Dataset(
        "x", str(tmp_path / "x.pkl"), "nturgb+d", 1, {"train": "one", "val": "two"}, cache=None
    )
    made = build(replace(settings, fold=2), GraphPipeline("nturgb+d"), Stream("joint"), seed=0)
    assert made["val"].names == ("r2", "r5")
    assert made["train"].names == ("r0", "r1", "r3", "r4") and made["train"].training
    with pytest.raises(UserError, match="`dataset.groups` must be `subject` or a regular"):
        replace(settings, groups="(")
