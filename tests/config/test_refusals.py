"""Command lines that are refused before anything is made."""

import pytest

from flag3d_exp.config.checks import conf_folder
from flag3d_exp.config.recall import expanded
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
    argv = expanded([f"dataset.path={path}", "dataset=custom"])
    assert argv == [f"dataset.path='{path}'", "dataset=custom"]


def test_an_installed_package_does_not_take_a_foreign_folder_for_its_own(tmp_path):
    package = tmp_path / "flag3d_exp"
    for folder in (tmp_path / "conf", package):
        folder.mkdir()
    assert conf_folder(package) == tmp_path / "conf"  # a checkout
    (package / "conf").mkdir()
    assert conf_folder(package) == package / "conf"
