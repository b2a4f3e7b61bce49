import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from flag3d_exp.config.checks import CONF
from flag3d_exp.errors import UserError
from flag3d_exp.sweep.points import Point, combinations, recall, save, spread, table


def test_every_combination_is_a_point():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        lines = ["model=a,b", "task.epochs=2", "seed=range(1,3)"]
        fixed, varied, points = combinations(lines, loader)
    assert fixed == ["task.epochs=2"]
    assert varied == {"model": ["a", "b"], "seed": ["1", "2"]}
    assert [point.choices for point in points] == [
        {"model": "a", "seed": "1"},
        {"model": "a", "seed": "2"},
        {"model": "b", "seed": "1"},
        {"model": "b", "seed": "2"},
    ]


def test_the_spread_is_students():
    # mean 2, sd 1, half width t(0.975, 2) / sqrt(3) = 4.3027 / 1.7321 = 2.4841
    assert spread([1.0, 2.0, 3.0]) == "2.00 ± 1.00 [-0.48, 4.48]"
    assert spread([7.0]) == "7.00"


def test_the_table_has_a_row_for_all_but_the_seed():
    points = [
        Point(str(n), {"model": m, "seed": str(s)}, "complete", {"val/top1": v, "best_epoch": 3.0})
        for n, (m, s, v) in enumerate([("a", 1, 10.0), ("a", 2, 14.0), ("b", 1, 9.0)])
    ]
    points.append(Point("3", {"model": "b", "seed": "2"}, "failed"))
    assert table(points) == [
        "| model | runs | val/top1: mean ± sd [95 % interval] |",
        "| --- | ---: | ---: |",
        "| a | 2 | 12.00 ± 2.83 [-13.41, 37.41] |",
        "| b | 1 | 9.00 |",
    ]


def test_a_grid_started_again_keeps_what_is_complete_and_repeats_the_rest(tmp_path):
    before = [
        Point("0", {"seed": "1"}, "complete", {"val/top1": 5.0}),
        Point("1", {"seed": "2"}, "failed"),
    ]
    save(before, tmp_path)
    points = [Point("0", {"seed": "1"}), Point("1", {"seed": "2"})]
    recall(points, {}, tmp_path)
    assert [point.state for point in points] == ["complete", "waiting"]
    assert points[0].metrics == {"val/top1": 5.0}
    with pytest.raises(UserError, match="holds another grid"):
        recall([Point("0", {"seed": "7"})], {}, tmp_path)
