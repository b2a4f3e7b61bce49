"""What the program uses of Hydra's private parts, each named by the test that fails without it."""

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.hydra_adapter import (
    FLAGS,
    SWITCHES,
    config_loader,
    flag_words,
    key_text,
    known_mode,
    parse_arguments,
    parse_overrides,
    quoted_text,
    value_text,
)
from flag3d_exp.errors import UserError


def test_get_args_parser_takes_the_flags_that_flag_words_writes():
    known = vars(get_args_parser().parse_args([]))
    assert set(known) == {*SWITCHES, *FLAGS, "overrides"}


def test_parse_arguments_finds_overrides_behind_and_before_flags():
    parsed = parse_arguments(["a=1", "-m", "b=2", "--config-dir", "my conf", "c=3"])
    assert parsed.overrides == ["a=1", "b=2", "c=3"]
    assert (parsed.multirun, parsed.config_dir) == (True, "my conf")


def test_parser_errors_are_refusals():
    with pytest.raises(UserError, match="unrecognized arguments: --nope"):
        parse_arguments(["--nope"])


def test_flag_words_give_the_same_flags_again():
    line = ["-m", "-c", "job", "-cd", "--odd=, name", "-i", "-p", "model"]
    line[4] = "--config-dir=--odd=, name"
    del line[3]
    parsed = parse_arguments(line)
    assert vars(parse_arguments(flag_words(parsed))) == vars(parsed)


def test_parse_overrides_gives_keys_and_values():
    number, text, sweep = parse_overrides(["a.b=1", "c='x,y'", "d=1,2"])
    assert (number.key_or_group, number.value()) == ("a.b", 1)
    assert (text.value(), text.is_sweep_override()) == ("x,y", False)
    assert list(sweep.sweep_string_iterator()) == ["1", "2"]


def test_an_override_that_is_none_is_shown_without_the_grammar_s_address():
    with pytest.raises(UserError, match=r"^`a=\[1`: ") as caught:
        parse_overrides(["a=[1"])
    assert "http" not in str(caught.value)


@pytest.mark.parametrize("text", ["a b", "it's", 'say "x"', "back\\", "\\'", "", "a=1,[b]"])
def test_quoted_text_is_read_back(text):
    (parsed,) = parse_overrides([f"a={quoted_text(text)}"])
    assert parsed.value() == text


def test_key_text_is_read_back():
    (parsed,) = parse_overrides([f"a={{{key_text('b c:d,e=f')}:1}}"])
    assert parsed.value() == {"b c:d,e=f": 1}


def test_value_text_keeps_quotes_and_nesting():
    (parsed,) = parse_overrides(["a=choice([1,'x y'],2)"])
    assert [value_text(value) for value in parsed.value().list] == ["[1,'x y']", "2"]


def test_config_loader_is_that_of_the_initialised_hydra():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert "custom" in config_loader().get_group_options("dataset")
        compose("config")


def test_a_known_mode_is_taken_without_composing():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        with known_mode(RunMode.MULTIRUN):
            assert hydra.get_mode("no such file", []) is RunMode.MULTIRUN
        assert hydra.get_mode("config", []) is None
        assert hydra.get_mode("config", ["hydra.mode=RUN"]) is RunMode.RUN
