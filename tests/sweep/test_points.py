import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from flag3d_exp.config.checks import CONF
from flag3d_exp.errors import UserError
from flag3d_exp.results.seeds import spread
from flag3d_exp.sweep.points import (
    Point,
    combinations,
    comparison,
    metrics,
    recall,
    save,
    table,
    title,
)


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
    # mean 12, sd 1, half width t(0.975, 2) / sqrt(3) = 4.3027 / 1.7321 = 2.4841
    assert spread([11.0, 12.0, 13.0]) == "12.00 ± 1.00 [9.52, 14.48]"
    assert spread([7.0]) == "7.00"


def test_no_interval_of_a_percentage_leaves_0_to_100():
    assert spread([1.0, 2.0, 9.0]) == "4.00 ± 4.36 [0.00, 14.83]"
    assert spread([99.0, 100.0]) == "99.50 ± 0.71 [93.15, 100.00]"


def test_the_table_has_a_row_for_all_but_the_seed():
    points = [
        Point(str(n), {"model": m, "seed": str(s)}, "complete", {"val/top1": v, "best_epoch": 3.0})
        for n, (m, s, v) in enumerate([("a", 1, 10.0), ("a", 2, 14.0), ("b", 1, 9.0)])
    ]
    points.append(Point("3", {"model": "b", "seed": "2"}, "failed"))
    assert table(points) == [
        "| model | runs | val/top1: mean ± sd [95 % interval] |",
        "| --- | ---: | ---: |",
        "| a | 2 | 12.00 ± 2.83 [0.00, 37.41] |",
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


def seeded(values: dict[str, list[float]]) -> list[Point]:
    """Complete points of `model=...` with seeds 1, 2, ..."""
    rows = [(m, str(s), v) for m, found in values.items() for s, v in enumerate(found, 1)]
    return [
        Point(str(n), {"model": m, "seed": s}, "complete", {"val/top1": v})
        for n, (m, s, v) in enumerate(rows)
    ]


def test_a_grid_over_seeds_ends_with_the_differences():
    lines = comparison(seeded({"a": [70.0, 72.0, 74.0], "b": [80.0, 81.0, 82.0]}))
    # 9 points; variances 4/3 and 1/3, so t = 9 / 1.2910 = 6.971 with 2.941 degrees of freedom
    assert (
        lines[1] == "| val/top1: pair | difference in points [95 % interval] | Welch p | Holm p |"
    )
    assert lines[3] == "| model=b - model=a | +9.00 [+4.84, +13.16] | 0.006 | 0.006 |"
    assert comparison(seeded({"a": [70.0], "b": [80.0]})) == []


def test_a_grid_without_seeds_compares_nothing():
    points = [Point("0", {"model": "a"}, "complete", {"val/top1": 1.0})]
    assert comparison(points) == [] and title(points) == "model=a"


def test_mlflow_is_told_what_varies_and_what_came_of_it():
    points = seeded({"a": [70.0, 72.0], "b/c": [80.0, 81.0]})
    points[3].state = "failed"
    assert title(points) == "model=a,b/c seed=1,2"
    found = metrics(points)
    assert found["runs/complete"] == 3 and found["runs/failed"] == 1
    assert found["model_a/val/top1_mean"] == 71.0
    assert found["model_a/val/top1_sd"] == pytest.approx(2**0.5)
    assert found["model_b/c/val/top1_mean"] == 80.0 and "model_b/c/val/top1_sd" not in found


def test_a_title_of_many_values_is_short():
    assert title(seeded({"a": [1.0] * 9})) == "model=a seed=1,...,9"


def folded(values: dict[str, list[list[float]]]) -> list[Point]:
    """Complete points of `model=...`: for each fold the values of seeds 1, 2, ..."""
    rows = [
        (model, str(fold), str(seed), value)
        for model, folds in values.items()
        for fold, seeds in enumerate(folds)
        for seed, value in enumerate(seeds, 1)
    ]
    return [
        Point(str(n), {"model": m, "fold": f, "seed": s}, "complete", {"val/top1": v})
        for n, (m, f, s, v) in enumerate(rows)
    ]


def test_a_grid_over_folds_has_mean_and_spread_over_the_folds_of_their_means_over_seeds():
    points = folded({"a": [[70.0, 72.0], [80.0, 80.0], [89.0, 93.0]]})  # 71, 80, 91
    assert table(points) == [
        "| model | runs | val/top1: mean ± sd over folds [95 % interval] |",
        "| --- | ---: | ---: |",
        "| a | 6 | 80.67 ± 10.02 [55.78, 100.00] |",
    ]
    found = metrics(points)
    assert found["model_a/val/top1_mean"] == pytest.approx(242 / 3)
    assert found["model_a/val/top1_sd"] == pytest.approx(10.0167, abs=1e-4)
    assert comparison(points) == []  # nothing to compare with
    assert title(points) == "model=a fold=0,1,2 seed=1,2"


def test_groups_are_compared_on_the_same_folds():
    points = folded({"a": [[50.0], [70.0], [90.0]], "b": [[52.0], [73.0], [94.0]]})
    # differences 2, 3, 4: mean 3, error 1 / sqrt(3), t = 5.196 with 2 degrees of freedom: p 0.0351
    lines = comparison(points)
    assert (
        lines[1] == "| val/top1: pair | difference in points [95 % interval] | paired p | Holm p |"
    )
    assert lines[3] == "| model=b - model=a | +3.00 [+0.52, +5.48] | 0.035 | 0.035 |"
    assert "paired t-test" in lines[-1]
    points[0].state = points[1].state = "failed"  # one fold in common is left
    assert comparison(points) == []
