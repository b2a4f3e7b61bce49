"""What `assignment` writes is what Hydra composes."""

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.command_line import CommandLine, assignment, select, within
from flag3d_exp.config.hydra_adapter import parse_overrides

TEXTS = ["a b", "a,b", "it's", 'say "x"', "a=b", "[x](y){z}", "é 数据", "null", "true", "1e5", "5",
         "", "${oc.env:HOME}", "\\${x}", "\\\\${x}", "back\\", "\\'", "$HOME", "~/x", "a:b", "a\nb",
         "choice(a,b)", "interval(0,1)", "#a", "a;b&c|d<e>", "  spaces  ", "--flag"]  # fmt: skip


def read_back(value):
    """The value that OmegaConf resolves where the override `key=...` was given."""
    (override,) = parse_overrides([assignment("key", value)])
    assert not override.is_sweep_override()
    cfg = OmegaConf.create({"key": override.value()})
    return OmegaConf.to_container(cfg, resolve=True)["key"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_itself_once_composed(text):
    assert read_back(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda t: t != "???"))
def test_any_text_is_itself_once_composed(text):
    assert read_back(text) == text


KEYS = st.sampled_from(["a", "b c", "d,e", "f=g", "h:i", "[j]", "k-l.m"])  # quotes: not possible
PLAIN = st.none() | st.booleans() | st.integers() | st.sampled_from(TEXTS)
PLAIN |= st.floats(allow_nan=False)


@given(st.recursive(PLAIN, lambda v: st.lists(v) | st.dictionaries(KEYS, v)))
def test_lists_and_dictionaries_keep_their_values_and_types(value):
    found = read_back(value)
    assert found == value
    assert type(found) is type(value)


def test_hydra_composes_a_path_of_odd_characters():
    path = "/it's = [x] {y} (z), $HOME & é; #1/mine.pkl"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", ["dataset=custom", assignment("dataset.path", path)])
    assert cfg.dataset.path == path


def test_a_plain_text_has_no_quotes():
    assert assignment("dataset.path", "/data/2026-11/my_file.pkl").endswith(
        "=/data/2026-11/my_file.pkl"
    )


def test_a_text_of_the_command_line_is_read_by_hydra_s_grammar():
    line = CommandLine.parse(["a='x, y'", "b=12345678901234567890123456789012", "c=1,2", "b=7"])
    assert [line.text(key) for key in "abcd"] == ["x, y", "7", None, None]


def test_overrides_are_selected_by_key_whatever_their_form():
    lines = ["+task.x=1", "++tasks=2", "task=train", "hydra/sweeper/sampler=tpe", "~task.y"]
    assert select(lines, lambda key: within(key, "task")) == ["+task.x=1", "task=train", "~task.y"]
    assert select(lines, lambda key: within(key, "hydra/sweeper")) == ["hydra/sweeper/sampler=tpe"]
