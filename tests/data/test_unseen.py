"""`dataset.unseen`: what is trained on, what is evaluated, and that nothing else is chosen by."""

import pickle
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.source import Dataset, build
from flag3d_exp.data.transforms import Stream
from flag3d_exp.data.unseen import evaluated_splits, named_choices, unseen_classes
from flag3d_exp.errors import UserError
from flag3d_exp.results.published import BODY_PART_OF, BODY_PARTS
from flag3d_exp.results.published import CLASSES as FLAG3D
from flag3d_exp.texts.descriptions import read_descriptions, text_path

CLASSES = ["walk", "run", "jump", "wave"]
SPLITS = {"train": "one", "val": "two", "test": "three"}
TWINS = [
    ("Lateral Raise Forward Circles", "Lateral Raise Backward Circles"),
    ("Lying Shoulder Joint Upward Round", "Lying Shoulder Joint Downward Round"),
    ("Dumbbell Curls", "Alternate Dumbbell Curls"),
    (
        "Right-side Bent-over Tricep Extension With Resistance Band",
        "Bent-over Dumbbell Tricep Extension",
    ),
    ("Right Leg Reverse Lunge", "Alternate Reverse Lunge"),
]


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
    with pytest.raises(UserError, match="has no 'val_unseen'; available: train, val, test"):
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
    with pytest.raises(UserError, match="`dataset.splits` has 'val_unseen'.*choose another name"):
        Dataset("x", "x.pkl", "nturgb+d", 4, splits, classes=CLASSES, unseen=["jump"])


def test_a_split_without_recordings_of_unseen_classes_is_refused(tmp_path):
    with pytest.raises(UserError, match="split 'val' has no recording of unseen classes"):
        names(written(tmp_path / "z.pkl", [0, 1, 1, 0]))


@pytest.mark.parametrize(
    ("drawn", "num_unseen", "per_part"),
    [("flag3d_50_10", 10, {1}), ("flag3d_55_5", 5, {0, 1}), ("flag3d_48_12", 12, {1, 2})],
)
def test_choices_of_flag3d_s_classes_are_even_over_the_body_and_keep_twins(
    drawn, num_unseen, per_part
):
    choices = [unseen_classes(f"{drawn}_seed{seed}") for seed in (1, 2, 3)]
    for chosen in choices:
        assert len(set(chosen)) == len(chosen) == num_unseen
        counts = Counter(BODY_PART_OF[name] for name in chosen)
        assert {counts[part] for part in BODY_PARTS} == per_part
        for twins in TWINS:
            assert len(set(twins) & set(chosen)) in (0, 2)
    assert all(len(set(a) & set(b)) < num_unseen / 2 for a, b in combinations(choices, 2))


@pytest.mark.parametrize(
    ("dataset", "drawn", "num_unseen"),
    [("penn_action", "penn_action_12_3", 3), ("uiprmd", "uiprmd_8_2", 2)],
)
def test_choices_of_real_datasets_have_no_class_in_common(dataset, drawn, num_unseen):
    classes = read_descriptions(text_path(dataset))
    chosen = [name for seed in (1, 2, 3) for name in unseen_classes(f"{drawn}_seed{seed}")]
    assert len(set(chosen)) == len(chosen) == 3 * num_unseen
    assert set(chosen) < set(classes)


def test_a_part_of_the_body_can_be_left_out():
    for part, names in BODY_PARTS.items():
        assert unseen_classes(f"flag3d_without_{part.replace(' ', '_')}") == list(names)


def test_there_are_no_other_choices_and_a_copy_is_given():
    assert len(named_choices()) == 3 * 3 + len(BODY_PARTS) + 2 * 3
    unseen_classes("flag3d_55_5_seed1").clear()
    assert len(unseen_classes("flag3d_55_5_seed1")) == 5


def test_a_choice_does_what_the_list_of_its_classes_does(path):
    """Labels 0 to 3 of the file are the first classes, of which one is unseen."""
    choice = "flag3d_50_10_seed1"
    listed = unseen_classes(choice)
    assert [name in listed for name in FLAG3D[:4]] == [False, False, False, True]
    made = []
    for unseen in (choice, listed):
        changed = Dataset(
            "x", str(path), "nturgb+d", 60, SPLITS, classes=list(FLAG3D), unseen=unseen, cache=None
        )
        clips = build(changed, GraphPipeline("nturgb+d", clip_len=4), Stream("j"), 0)
        made.append({split: one.names for split, one in clips.items()})
    assert made[0] == made[1]
    assert made[0]["val_unseen"] == ("r7",)


def test_a_choice_of_classes_that_the_dataset_lacks_is_refused():
    with pytest.raises(UserError, match="`dataset.unseen=flag3d_55_5_seed1`: 'Fortune Cat' is not"):
        settings("x.pkl", unseen="flag3d_55_5_seed1")


def test_an_unknown_choice_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="accepted: a list of classes.*flag3d_50_10_seed1, .*_hip"):
        settings("x.pkl", unseen="flag3d_55_5_seed4")
