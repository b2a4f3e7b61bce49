"""Answers about the program: version, settings of a choice, completions."""

import ast

import pytest

from flag3d_exp import __version__
from flag3d_exp.config import answers
from flag3d_exp.config.answers import accepted_values, completions
from flag3d_exp.errors import UserError


def answer(words: list[str]) -> str | None:
    return answers.answer(words, __version__)


def test_the_version_is_the_programs():
    assert (answer(["--version"]) or "").startswith(f"flag3d_exp {__version__}, Python 3.")


def test_help_for_a_task_shows_its_settings():
    text = answer(["--help", "task=predict"]) or ""
    assert text.startswith("task=predict: Predict classes and probabilities")
    assert "task.top_k=5                    classes per recording" in text
    assert "python -m flag3d_exp task=predict --cfg job" in text
    assert max(map(len, text.splitlines())) <= 100


def test_help_for_several_choices_shows_each():
    text = answer(["model=stgcn", "sweep=sgd", "--help"]) or ""
    assert "model=stgcn: " in text and "model.base_channels=" in text and "sweep=sgd\n\n#" in text


def test_help_without_a_choice_is_left_to_hydra():
    assert answer(["--help"]) is None and answer(["task.epochs=3"]) is None


def test_help_for_what_is_not_there_is_refused():
    with pytest.raises(UserError, match="`task=predcit` is not a choice"):
        answer(["task=predcit", "--help"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flag3d-exp task.init_head=", ["keep", "skip", "auto"]),
        ("flag3d-exp task=export task.format=o", ["onnx"]),
        ("flag3d-exp task.sync_batchnorm=f", ["false"]),
        ("flag3d-exp task.epochs=", []),
        ("flag3d-exp task.nothing=", []),
        ("flag3d-exp model=", []),
        ("flag3d-exp nothing=x task.init_head=", []),
    ],
)
def test_the_accepted_values_of_a_setting_are_completed(line, expected):
    key = line.split(" ")[-1].partition("=")[0]
    assert completions(line) == [f"{key}={value}" for value in expected]


def test_values_of_an_open_kind_are_not_listed():
    for text, values in {
        "Literal['a', 'b'] | None": ["a", "b", "null"],
        "Literal['a'] | int": [],
        "str": [],
    }.items():
        assert accepted_values(ast.parse(text, mode="eval").body) == values
