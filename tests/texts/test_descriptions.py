"""Text files: what is shipped, what is found for a dataset's classes, what is refused."""

import logging

import pytest
import yaml

from flag3d_exp.config.checks import CONF
from flag3d_exp.errors import UserError
from flag3d_exp.texts.descriptions import (
    SENTENCES,
    check_distinct,
    class_descriptions,
    is_foreign,
    read_descriptions,
    shipped_names,
)

MINE = {
    "wave": "Raise the hand and wave it to the left and right.",
    "bow": {"whole": "Bend the trunk forward and rise again.", "torso": "The trunk bends."},
}


@pytest.fixture
def written(tmp_path):
    def write(content) -> str:
        path = tmp_path / "mine.yaml"
        text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


CLASSES = {
    path.stem: classes
    for path in sorted((CONF / "dataset").glob("*.yaml"))
    if len(classes := yaml.safe_load(path.read_text()).get("classes") or ()) > 1
}


@pytest.mark.parametrize("dataset", CLASSES)
def test_every_class_of_a_shipped_dataset_is_described(dataset):
    classes = CLASSES[dataset]
    found = class_descriptions("auto", classes)
    assert [one.name for one in found] == classes
    for one in found:
        assert one.parts, one.name
        assert all(sentence.endswith(".") for sentence in one.sentences), one.name


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_sentences_differ_and_are_english(name, caplog):
    with caplog.at_level(logging.WARNING):
        found = read_descriptions(SENTENCES / f"{name}.yaml")
    assert not caplog.records
    check_distinct(list(found.values()), name)


def test_a_side_that_a_class_names_is_named_in_its_sentence():
    for one in read_descriptions(SENTENCES / "flag3d.yaml").values():
        for side in ("left", "right", "upward", "downward", "forward circles", "backward circles"):
            if side in one.name.lower().replace("-", " "):
                assert side.split()[0] in one.whole, one.name


def test_a_file_of_one_s_own_is_read_in_the_order_of_the_classes(written):
    bow, wave = class_descriptions(written(MINE), ["bow", "wave"])
    assert (bow.name, bow.sentences) == ("bow", tuple(MINE["bow"].values()))
    assert (wave.whole, wave.parts) == (MINE["wave"], ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (MINE | {"jump": MINE["wave"].upper()}, "same sentence for 'wave' and 'jump'"),
        (
            {"wave": MINE["wave"], "Bow": "Bend."},
            "no sentence for 'bow', 'jump'.*Did you mean `Bow`",
        ),
        ({"run": "Run.", "walk": "Walk."}, "for other classes.*'run', 'walk'"),
        (
            {"wave": {"whole": "Wave.", "knees": "Bend."}},
            "'knees' is not a known part of the body.*legs",
        ),
        ({"wave": {"arms": "Wave."}}, "must have a sentence"),
        ({"wave": "  "}, "text of 1 to 500"),
        ({"wave": "x" * 501}, "text of 1 to 500"),
        ({"wave": 3}, "must have a sentence"),
        ({3: "Wave."}, "name of a class must be a text"),
        ([1], "must map the name"),
        ("a: [", "can't be read"),
        ("", "must map the name"),
        ("wave: !!python/name:os.system x", "tags"),
    ],
)
def test_a_file_that_can_t_be_used_is_refused_in_one_line(written, content, message):
    path = written(content)
    with pytest.raises(UserError, match=message) as refusal:
        class_descriptions(path, ["wave", "bow", "jump"])
    assert "problem.texts" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["flagd", "../sentences/flag3d", "none.yaml"])
def test_a_file_that_is_not_there_is_refused(name):
    with pytest.raises(UserError, match="must be auto, flag3d, .* or the path of a YAML file"):
        class_descriptions(name, ["wave"])


def test_classes_that_no_shipped_file_knows_are_named():
    with pytest.raises(UserError, match="has a sentence for 'Wave'; write a text file"):
        class_descriptions("auto", ["Sit-ups", "Wave"])
    with pytest.raises(UserError, match=r"`dataset.classes` is null"):
        class_descriptions("auto", None)


@pytest.mark.parametrize(
    ("sentence", "foreign"),
    [
        ("Hebe beide Arme seitlich hoch bis zur Schulter.", True),
        ("Lève les bras.", True),
        ("抬起双臂", True),
        ("Lift both arms.", False),
        ("Stand and lift both arms to the sides.", False),
    ],
)
def test_sentences_in_other_languages_are_noticed(sentence, foreign):
    assert is_foreign(sentence) is foreign


def test_sentences_in_other_languages_are_taken_with_a_warning(written, caplog):
    path = written({"Heben": "Hebe beide Arme seitlich hoch bis zur Schulter."})
    with caplog.at_level(logging.WARNING):
        (found,) = class_descriptions(path, ["Heben"])
    assert found.whole.startswith("Hebe") and "English" in caplog.text
