import numpy as np
import optuna
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from flag3d_exp.config.checks import CONF
from flag3d_exp.errors import UserError
from flag3d_exp.sweep.space import Space, parse_space


def parsed(*overrides: str, params: dict[str, str] | None = None) -> Space:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return parse_space(params or {}, overrides, None, loader)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a=interval(0.5,2)", FloatDistribution(0.5, 2.0)),
        ("a=int(interval(1,8))", IntDistribution(1, 8)),
        ("a=tag(log,interval(1e-3,1))", FloatDistribution(1e-3, 1.0, log=True)),
        ("a=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("a=range(2,11,3)", IntDistribution(2, 8, step=3)),
        ("a=range(0.0,1.0,0.5)", CategoricalDistribution([0.0, 0.5])),
        ("a=1,null,true,sgd", CategoricalDistribution([1, None, True, "sgd"])),
        ("a=[1,2],[3]", CategoricalDistribution(["[1,2]", "[3]"])),
    ],
)
def test_hydras_sweeps_become_optunas_distributions(override, expected):
    assert parsed(override).distributions == {"a": expected}


def test_the_command_line_wins_over_the_configuration():
    space = parsed("a=3", "b=1,2", params={"a": "interval(0,9)", "b": "interval(0,9)"})
    assert space.fixed == ["a=3"]
    assert space.distributions == {"b": CategoricalDistribution([1, 2])}


def test_a_trial_is_spelled_in_hydras_grammar():
    space = parsed("a=null,null", "b=choice(true)", "c=choice([5,8])", "d=interval(0.5,0.5)")
    trial = optuna.create_study().ask()
    assert space.draw(trial) == ["a=null", "b=true", "c=[5,8]", "d=0.5"]


def test_a_conditional_space_draws_by_what_was_drawn():
    from flag3d_exp.sweep.conditional import settings_of_optimizer

    for name, keys in {"sgd": "optimizer.momentum", "adamw": "optimizer.weight_decay"}.items():
        space = Space([], {"optimizer": CategoricalDistribution([name])}, settings_of_optimizer)
        trial = optuna.create_study().ask()
        lines = space.draw(trial)
        assert [line.split("=")[0] for line in lines] == ["optimizer", "optimizer.lr", keys]


def test_a_grid_lists_choices_and_ranges_and_refuses_intervals():
    assert parsed("a=range(1,4)", "b=x,y").grid() == {"a": [1, 2, 3], "b": ["x", "y"]}
    with pytest.raises(UserError, match="`a` must be a choice or a range"):
        parsed("a=interval(0.0,1.0)").grid()


@pytest.mark.parametrize(
    ("overrides", "size"),
    [
        (["a=range(1,4)", "b=x,y"], 6),
        (["a=tag(log,int(interval(1,64)))"], 64),
        (["a=range(2,11,3)", "b=interval(1.0,1.0)"], 3),
        (["a=x,x"], 1),
        (["a=1,true"], 2),
        (["a=1,2", "b=interval(0.0,1.0)"], None),
    ],
)
def test_a_space_knows_how_many_points_it_has(overrides, size):
    assert parsed(*overrides).size == size


def test_the_point_besides_others_is_the_one_that_is_left():
    space = parsed("a=range(1,4)", "b=x,y")
    rng = np.random.default_rng(0)
    points = []
    for _ in range(6):
        point = space.point_besides(points, rng)
        assert point is not None
        points.append(point)
    assert len({tuple(point.items()) for point in points}) == 6
    assert space.point_besides(points, rng) is None
    assert parsed("a=interval(0.0,1.0)").point_besides([], rng) is None


@pytest.mark.parametrize("override", ["a=interval(2,1)", "a=tag(log,interval(0.0,1.0))", "a=3"])
def test_a_space_without_meaning_is_refused(override):
    with pytest.raises(UserError):
        parsed(override)
