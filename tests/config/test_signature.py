import ast

import pytest

from flag3d_exp.config.signature import accepts, arguments, description, expectation


def annotation(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


@pytest.mark.parametrize(
    ("text", "fitting", "unfitting"),
    [
        ("int", [0, -3], [1.5, True, "1", None]),
        ("float", [0, 1.5], [True, "1.5", None]),
        ("bool", [True], [1, "true"]),
        ("str", ["", "x"], [1, None]),
        ("int | None", [3, None], ["3", 1.5]),
        ("Literal['a', 'b']", ["a"], ["c", 1]),
        ("bool | Literal['auto']", [True, "auto"], ["on", 1]),
        ("list[str]", [[], ["a"]], ["a", [1]]),
        ("tuple[int, ...]", [[], [1, 2]], [[1.5], 1]),
        ("tuple[float, float]", [[0, 1.5]], [[1], [1, 2, 3]]),
        ("dict[str, str]", [{}, {"a": "b"}], [{"a": 1}, ["a"]]),
    ],
)
def test_values_fit_only_their_annotation(text, fitting, unfitting):
    node = annotation(text)
    assert [accepts(node, value) for value in fitting] == [True] * len(fitting)
    assert [accepts(node, value) for value in unfitting] == [False] * len(unfitting)


def test_annotations_are_put_into_words():
    assert description(annotation("int | None")) == "an integer or null"
    assert description(annotation("Literal['a', True]")) == "a or true"
    assert description(annotation("tuple[float, float]")) == "a list of 2: a number, a number"
    assert description(annotation("dict[str, int]")) == "a mapping, each value an integer"
    assert description(annotation("dict[str, object]")) == "a mapping, each value of any type"


def test_a_dataclass_is_read_from_its_fields():
    found = arguments("flag3d_exp.devices.device.Device")
    assert found is not None
    assert list(found)[:3] == ["target", "id", "jit"]
    assert not any(argument.required for argument in found.values())


def test_a_function_is_read_from_its_parameters():
    found = arguments("flag3d_exp.engine.optimizer.sgd")
    assert found is not None
    assert [name for name, argument in found.items() if argument.required] == ["params"]


def test_a_cell_is_read_from_its_constructor_without_importing_it(tmp_path, monkeypatch):
    source = (
        "raise SystemExit\nclass A:\n    def __init__(self, size: int, *, wide: bool = False): ..."
    )
    (tmp_path / "explosive.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    found = arguments("explosive.A")
    assert found is not None
    assert {name: argument.required for name, argument in found.items()} == {
        "size": True,
        "wide": False,
    }


def test_a_class_narrows_the_range_of_an_argument(tmp_path, monkeypatch):
    source = """
from typing import Annotated
class A:
    bounds = {"size": ">= 6"}
    def __init__(self, size: Annotated[int, ">= 1"], count: int): ...
"""
    (tmp_path / "narrow.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    found = arguments("narrow.A")
    assert found is not None
    size, count = found["size"].annotation, found["count"].annotation
    assert size is not None and count is not None
    assert description(size) == "an integer of at least 6"
    assert (expectation(size, 4), expectation(size, 6), expectation(count, 4)) == (
        "at least 6",
        None,
        None,
    )


def test_a_cell_without_a_constructor_is_read_from_the_base_that_it_imports(tmp_path, monkeypatch):
    (tmp_path / "based.py").write_text("class A:\n    def __init__(self, size: int = 3): ...")
    (tmp_path / "derived.py").write_text("from based import A\nclass B(A):\n    pass")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(arguments("derived.B") or ()) == ["size"]
    found = arguments("flag3d_exp.models.stgcn.STGCN")
    assert list(found or ())[:2] == ["layout", "num_channels"]


def test_a_name_the_module_lacks_is_refused():
    with pytest.raises(LookupError, match="is not defined"):
        arguments("flag3d_exp.devices.device.Devise")


def test_a_module_that_is_not_there_is_refused():
    for target in ("nowhere.to.be.found.Thing", "flag3d_exp.models.nowhere.Model", "Model"):
        with pytest.raises(LookupError, match="there is no module"):
            arguments(target)


def test_fields_of_an_imported_dataclass_are_inherited(tmp_path, monkeypatch):
    (tmp_path / "mine_inherited.py").write_text(
        "from dataclasses import dataclass\n"
        "from flag3d_exp.problems.classify import Classify\n\n"
        "@dataclass(frozen=True)\nclass Focal(Classify):\n    gamma: float = 2.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    known = arguments("mine_inherited.Focal")
    assert known is not None and list(known)[-1] == "gamma"
    assert known["num_classes"].required and not known["label_smoothing"].required
