import numpy as np
import pytest

from flag3d_exp.results import evaluation, intervals
from flag3d_exp.results.predictions import Predictions
from flag3d_exp.results.published import CLASSES, protocol, subject


def guessing(names: list[str], labels: list[int], classes: list[int], size: int) -> Predictions:
    return Predictions(tuple(names), np.array(labels), np.eye(size)[classes])


def test_groups_are_counted_by_class_body_part_and_subject():
    names = [f"S002C002M001P00{person}A00{a}R001" for person in (1, 5) for a in (1, 7)]
    found = evaluation.evaluate(guessing(names, [0, 6, 0, 6], [0, 6, 1, 6], 60), CLASSES)
    assert {name: one.value for name, one in found.classes.items()} == {
        "Svend Press": 0.5,
        "Bent-over W-shape Stretch": 1,
    }
    assert {name: one.value for name, one in found.body_parts.items()} == {"chest": 0.5, "back": 1}
    assert {name: one.value for name, one in found.subjects.items()} == {"P001": 1, "P005": 0.5}
    assert found.body_parts["chest"] == intervals.wilson(1, 2)


def test_other_names_and_classes_have_no_groups_unless_told():
    predictions = guessing(["x", "y"], [0, 1], [0, 0], 2)
    found = evaluation.evaluate(predictions, ["jump", "sit"])
    assert (found.body_parts, found.subjects) == ({}, {})
    told = evaluation.evaluate(predictions, ["jump", "sit"], {"x": "10", "y": "2"})
    assert [(name, one.value) for name, one in told.subjects.items()] == [("2", 0), ("10", 1)]


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("S001C001M002P005A015R003", "P005"),
        ("PLAY_A001_V001_R001_S001", "PLAY"),
        ("S001C001P001R001A001", None),
        ("squat_01", None),
    ],
)
def test_the_subject_stands_in_the_name(name, person):
    assert subject(name) == person


def test_the_protocol_is_told_by_the_names_of_all_60_classes():
    assert protocol(["S002C002M001P001A001R001"], 60) == "in_domain"
    assert protocol(["PLAY_A001_V001_R001_S001"], 60) == "out_domain"
    assert protocol(["S002C002M001P001A001R001"], 16) is None
    assert protocol(["S001C001P001R001A001"], 60) is None
    assert protocol(["PLAY_A001_V001_R001_S001", "x"], 60) is None


def test_the_gap_is_the_drop_overall_and_by_class():
    near = evaluation.evaluate(guessing(list("abcd"), [0, 0, 1, 1], [0, 0, 1, 0], 2), ["j", "s"])
    far = evaluation.evaluate(guessing(list("efgh"), [0, 0, 1, 1], [0, 1, 0, 0], 2), ["j", "s"])
    drop = evaluation.gap(near, far)
    assert drop["overall"]["overall"].value == pytest.approx(0.5)
    assert {name: one.value for name, one in drop["classes"].items()} == {"j": 0.5, "s": 0.5}
    assert drop["overall"]["overall"] == intervals.difference(
        intervals.wilson(3, 4), intervals.wilson(1, 4)
    )


def test_gap_metrics_are_differences_in_points_of_each_other_split():
    final = {"val/top1": 90.0, "out_domain/top1": 70.0, "train/top1": 99.0, "val_ema/top1": 91.0}
    assert evaluation.gap_metrics(final) == {"gap/out_domain/top1": 20.0}
    assert evaluation.gap_metrics({"out_domain/top1": 70.0}) == {}


def test_metric_values_are_in_percent_but_for_the_likelihood():
    one = evaluation.evaluate(guessing(list("ab"), [0, 1], [0, 0], 2), ["j", "s"])
    values = evaluation.metric_values("val", one)
    assert values["val/top1"] == 50
    assert values["val/top5"] == 100
    assert values["val/top1_low"] == pytest.approx(9.45, abs=0.01)
    assert values["val/nll"] == pytest.approx(6 * np.log(10))
