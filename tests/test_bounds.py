import ast
from dataclasses import dataclass
from math import inf, nan
from typing import Annotated

import pytest

from flag3d_exp.bounds import check, check_rising, in_words, within
from flag3d_exp.config.signature import accepts, description, expectation
from flag3d_exp.errors import UserError


@pytest.mark.parametrize(
    ("bounds", "words", "inside", "outside"),
    [
        (">= 1", "at least 1", [1, 7], [0, -1, nan, inf]),
        ("> 0", "above 0", [1e-9, 3], [0, -0.0, nan]),
        (">= 0, < 1", "at least 0 and below 1", [0, 0.999], [1, -0.1]),
        (">= 0, <= 1", "from 0 to 1", [0, 1], [1.1, -0.1, nan]),
        (">= 1, odd", "at least 1 and odd", [1, 3], [0, 2, -1]),
        ("not empty", "a list that is not empty", [[0], (1, 2)], [[], ()]),
    ],
)
def test_a_range_holds_what_its_words_say(bounds, words, inside, outside):
    assert in_words(bounds) == words
    assert all(within(bounds, value) for value in inside)
    assert not any(within(bounds, value) for value in outside)


@pytest.mark.parametrize(
    ("bounds", "words", "inside", "outside"),
    [
        ("as long as blocks", "as long as `blocks`", [[7, 8]], [[7], [7, 8, 9]]),
        (">= 1 / width", "at least 1 / `width`", [0.25, 1], [0.2]),
    ],
)
def test_a_range_may_depend_on_another_setting(bounds, words, inside, outside):
    others = {"blocks": [1, 1], "width": 4}
    assert in_words(bounds) == words
    assert all(within(bounds, value, others) for value in inside)
    assert not any(within(bounds, value, others) for value in outside)
    assert all(within(bounds, value) for value in outside)  # of which nothing is known


@dataclass(frozen=True)
class Settings:
    size: Annotated[int, ">= 1"] | None = None
    name: str = ""
    sizes: Annotated[tuple[Annotated[int, ">= 1"], ...], "as long as names"] = ()
    names: tuple[str, ...] = ()


def test_the_fields_of_an_object_are_held_to_their_ranges():
    check(Settings(), "task")
    check(Settings(1), "task")
    with pytest.raises(UserError, match="^`task.size` must be at least 1; got 0.$"):
        check(Settings(0), "task")
    with pytest.raises(UserError, match="^`task.sizes` must be as long as `names`; got \\(1,\\).$"):
        check(Settings(sizes=(1,)), "task")
    with pytest.raises(UserError, match="^`task.sizes` must be at least 1; got"):
        check(Settings(sizes=(1, 0), names=("a", "b")), "task")


@pytest.mark.parametrize(
    ("pair", "low", "high", "wanted"),
    [
        ((1, 0.5), None, None, "two rising numbers"),
        ((0, 1), 0, None, "two rising numbers above 0"),
        ((0.5, 1.5), 0, 1, "two rising numbers above 0 and at most 1"),
        ((0.5,), None, 1, "two rising numbers at most 1"),
        ((nan, 1), 0, 1, "two rising numbers above 0 and at most 1"),
    ],
)
def test_a_range_rises_within_its_limits(pair, low, high, wanted):
    check_rising("task.part", (0.5, 0.5), low, high)
    check_rising("task.part", (0.25, 1), low, high)
    with pytest.raises(UserError) as caught:
        check_rising("task.part", pair, low, high)
    assert str(caught.value) == f"`task.part` must be {wanted}; got {list(pair)}."


def test_a_value_is_held_to_the_range_as_it_is_written():
    annotation = ast.parse('Annotated[float, "> 0"] | None', mode="eval").body
    assert description(annotation) == "a number above 0 or null"
    assert accepts(annotation, 1) and accepts(annotation, None)
    assert expectation(annotation, 0.5) is None
    assert expectation(annotation, 0) == "above 0"
    assert expectation(annotation, inf) == "a finite number above 0"
    assert expectation(annotation, "x") == "a number above 0 or null"
