from pathlib import Path

import pytest
import yaml

from flag3d_exp.errors import UserError
from flag3d_exp.runs.begun import check_same, check_same_run, settings

BEGUN = {
    "dataset": {"path": "a.pkl", "splits": {"train": "train"}, "cache": "auto"},
    "stream": {"name": "joint", "bones": False},
    "device": {"target": "cpu", "precision": "fp32"},
    "tracking": {"uri": None},
    "task": {"objective": "val/top1", "num_workers": 1, "resume": None},
    "seed": 0,
}


def refusal(now: dict, digest: str = "digest") -> str:
    with pytest.raises(UserError) as caught:
        check_same(settings(BEGUN, "digest"), settings(now, digest), "It", "begin another")
    return str(caught.value)


def test_a_start_that_differs_is_named_with_both_values():
    line = refusal(BEGUN | {"stream": {"name": "bone", "bones": True}})
    assert line == (
        "It was begun with other settings: `stream.name` was joint, now bone; "
        "`stream.bones` was false, now true; begin another."
    )


def test_of_many_differences_the_first_are_named():
    before = {"task": {key: 1 for key in "abcd"}}
    after = {"task": {key: 2 for key in "abcd"}}
    with pytest.raises(UserError, match=r"`task.c` was 1, now 2 \(and 1 more\); begin another"):
        check_same(settings(before, None), settings(after, None), "It", "begin another")


def test_other_contents_of_the_data_are_a_difference():
    assert "`dataset.path (SHA-256)` was digest, now another" in refusal(BEGUN, "another")


def test_a_split_more_is_a_difference():
    splits = {"train": "train", "other": "test"}
    now = BEGUN | {"dataset": BEGUN["dataset"] | {"splits": splits}}
    assert "`dataset.splits` was {" in refusal(now)


def test_where_a_start_runs_and_reports_is_none():
    now = BEGUN | {
        "dataset": BEGUN["dataset"] | {"path": "/mnt/a.pkl", "cache": None},
        "device": {"target": "gpu", "precision": "fp32"},
        "tracking": {"uri": "http://host"},
        "task": BEGUN["task"] | {"num_workers": 4, "resume": "auto"},
    }
    check_same(settings(BEGUN, "digest"), settings(now, "digest"), "It", "begin another")


def test_half_precision_is_a_difference():
    assert "`device.precision`" in refusal(BEGUN | {"device": {"precision": "fp16"}})


def test_settings_that_only_a_later_version_has_are_not_compared():
    now = BEGUN | {"stream": BEGUN["stream"] | {"new": 1}}
    check_same(settings(BEGUN, "digest"), settings(now, "digest"), "It", "begin another")


META = {"config": yaml.safe_dump(BEGUN | {"optimizer": {"lr": 0.1}}), "data": "digest"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"data": "another"}, "`dataset.path (SHA-256)` was digest, now another"),
        ({"config": META["config"].replace("val/top1", "val/loss")}, "`task.objective` was"),
        ({"config": META["config"].replace("joint", "bone")}, "`stream.name` was joint, now bone"),
    ],
)
def test_a_run_is_not_resumed_on_other_data_or_towards_something_else(changed, expected):
    with pytest.raises(UserError) as caught:
        check_same_run(META, META | changed, Path("outputs/run"))
    assert expected in str(caught.value)
    assert "`task.init_from`" in str(caught.value) and "`outputs/run`" in str(caught.value)


def test_a_run_is_resumed_with_another_rate_and_more_epochs():
    config = META["config"].replace("lr: 0.1", "lr: 0.01").replace("num_workers: 1", "epochs: 9")
    assert config != META["config"]
    check_same_run(META, META | {"config": config}, Path("run"))


def test_a_checkpoint_that_does_not_know_its_data_is_continued():
    check_same_run({"config": META["config"]}, META, Path("run"))
