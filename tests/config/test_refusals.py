"""Command lines that are refused before anything is made."""

import pytest

from flag3d_exp.config import refusals
from flag3d_exp.config.checks import conf_folder
from flag3d_exp.config.recall import expanded_words
from flag3d_exp.config.refusals import check_command_line
from flag3d_exp.errors import UserError


@pytest.mark.parametrize("search", [(), ("sweep=search",)])
@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ("model.num_blocks=range(3,3)", "it has no values"),
        ("model.num_blocks=range(3,1)", "it has no values"),
        ("model.num_blocks=range(1,5,0)", "a step other than 0"),
        ("seed=range(0,inf)", "finite numbers"),
        ("seed=range(0,1000000)", "1,000,000 values; at most 100,000"),
        ("optimizer.lr=interval(0,inf)", "two finite numbers"),
        ("optimizer.lr=interval(nan,1)", "two finite numbers"),
        ("optimizer.lr=interval(1,0)", "the smaller one first"),
        ("optimizer.lr=tag(log,interval(0,1))", "must begin above 0"),
    ],
)
def test_a_sweep_without_values_is_refused(search, sweep, expected):
    with pytest.raises(UserError) as refusal:
        check_command_line(["-m", *search, sweep])
    assert str(refusal.value).startswith(f"`{sweep}`: ")
    assert expected in str(refusal.value)


def test_a_search_space_without_values_is_refused_with_its_key():
    params = "+hydra.sweeper.params={seed: 'range(3,3)'}"
    with pytest.raises(UserError, match=r"`hydra.sweeper.params`: `seed=range\(3,3\)`: it has no"):
        check_command_line(["-m", "sweep=search", params])


def test_a_working_folder_of_the_run_is_refused():
    with pytest.raises(UserError, match="`hydra.job.chdir=true` is not accepted"):
        check_command_line(["hydra.job.chdir=true"])


def test_the_flag_of_a_multirun_may_stand_behind_the_task():
    check_command_line(["task=train", "-m", "seed=1,2"])
    check_command_line(["task=train", "seed=1,2", "-m"])


@pytest.mark.parametrize("path", ["~/mine.pkl", "miné.pkl", "数据/深蹲.pkl"])
def test_a_path_of_letters_beyond_the_grammar_needs_no_quotes(path):
    argv = expanded_words([f"dataset.path={path}", "dataset=custom"])
    assert argv == [f'dataset.path="{path}"', "dataset=custom"]


def test_an_installed_package_does_not_take_a_foreign_folder_for_its_own(tmp_path):
    package = tmp_path / "flag3d_exp"
    for folder in (tmp_path / "conf", package):
        folder.mkdir()
    assert conf_folder(package) == tmp_path / "conf"  # a checkout
    (package / "conf").mkdir()
    assert conf_folder(package) == package / "conf"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["lr=0.1"], "Did you mean `optimizer.lr`?"),
        (["task=predict", "top_k=3"], "Did you mean `task.top_k`?"),
        (["clip_len=3"], "Did you mean `dataset.clip_len` or `pipeline.clip_len`?"),
        (["modl=stgcn"], "Did you mean `model`?"),
        (["device=cuda"], "Did you mean `device=gpu`?"),
        (["device=npu"], "Did you mean `device=ascend`?"),
        (["task=compare", "task.runs=x"], "got 'x' (a list of one is `task.runs=[x]`)"),
    ],
)
def test_what_is_commonly_mistaken_gets_a_hint(words, hint):
    with pytest.raises(UserError) as refusal:
        check_command_line(words)
    assert hint in str(refusal.value)


@pytest.mark.parametrize("key", ["optimizer.lr=range(0.001,0.301,0.001)", "seed=range(0,300)"])
def test_hundreds_of_values_of_a_setting_are_checked_with_one_composition(key, monkeypatch):
    calls = []
    composed = refusals._compose

    def counted(*arguments, **settings):
        calls.append(arguments)
        return composed(*arguments, **settings)

    monkeypatch.setattr(refusals, "_compose", counted)
    check_command_line(["-m", key])
    assert len(calls) == 2  # of the search and of the first job


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ("optimizer.lr=0.1,0.2,-1", "`optimizer.lr` must be at least 0; got -1"),
        ("seed=1,2,-3", "`seed` must be an integer from 0 to 4294967295; got -3"),
        ("fold=0,1,-1", "`fold` must be an integer of at least 0 or null; got -1"),
        ("dataset.clip_len=8,16,0", "`dataset.clip_len` must be"),
        ("model.num_persons=1,2", "`model.num_persons=2`, but `pipeline.num_persons` is 1"),
    ],
)
def test_a_bad_value_behind_good_ones_is_refused(sweep, expected):
    with pytest.raises(UserError) as refusal:
        check_command_line(["-m", sweep])
    assert expected in str(refusal.value)
