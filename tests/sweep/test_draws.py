"""No point is run twice, by one driver or by several at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GridSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from flag3d_exp.sweep.draws import next_trial
from flag3d_exp.sweep.drivers import sampler_seed
from flag3d_exp.sweep.settings import budget, seeded_sampler
from flag3d_exp.sweep.space import Space
from flag3d_exp.sweep.storage import open_study
from flag3d_exp.sweep.trial_records import DROPPED, Retry, TrialRecords

SIX = Space([], {"a": IntDistribution(1, 3), "b": CategoricalDistribution(["x", "y"])})
ENDLESS = Space([], {"a": FloatDistribution(0.0, 1.0)})
SAMPLERS = {
    "tpe": partial(TPESampler),
    "random": partial(RandomSampler),
    "qmc": partial(QMCSampler, warn_asynchronous_seeding=False),
    "grid": partial(GridSampler),
}


def driver(folder: Path, space: Space, make: partial) -> Callable[[], optuna.Trial | None]:
    """A driver of the study in the folder; called, it draws and ends its next trial."""
    study, storage, number = open_study(folder, "s", str(folder / "log"), ["maximize"], {})
    study.sampler = seeded_sampler(make, sampler_seed(0, number, make), space)
    records, rng = TrialRecords(study, storage), np.random.default_rng(number)

    def draw() -> optuna.Trial | None:
        found = next_trial(records, space, budget(20, space), rng)
        if found is None:
            return None
        trial_id = records.trial_id(found[0].number)
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
        return found[0]

    return draw


def all_drawn(draw: Callable[[], optuna.Trial | None], limit: int) -> list[str]:
    """The points of the trials that a driver draws until none is left."""
    found: list[str] = []
    while len(found) < limit and (trial := draw()) is not None:
        found.append(str(trial.params))
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finite_space_is_run_through_once(tmp_path, sampler):
    points = all_drawn(driver(tmp_path, SIX, SAMPLERS[sampler]), 20)
    assert sorted(points) == [str({"a": a, "b": b}) for a in (1, 2, 3) for b in ("x", "y")]


@pytest.mark.parametrize("space", [SIX, ENDLESS], ids=["finite", "endless"])
@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_drivers_at_once_draw_different_points(tmp_path, sampler, space):
    drivers = [driver(tmp_path, space, SAMPLERS[sampler]) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda draw: all_drawn(draw, 4), drivers))
    points = [point for points in found for point in points]
    assert len(points) == len(set(points)) == (6 if space is SIX else 12)


def test_drivers_have_seeds_of_their_own_but_quasi_random_points_are_one_sequence():
    random, quasi = SAMPLERS["random"], SAMPLERS["qmc"]
    assert sampler_seed(3, 0, random) == 3
    assert len({sampler_seed(seed, number, random) for seed in (0, 1) for number in range(9)}) == 18
    assert {sampler_seed(3, number, quasi) for number in range(9)} == {3}


def test_a_retry_keeps_its_point(tmp_path):
    study, storage, _ = open_study(tmp_path, "s", str(tmp_path / "log"), ["maximize"], {})
    records, rng = TrialRecords(study, storage, max_retries=1), np.random.default_rng(0)
    first = next_trial(records, SIX, 6, rng)
    assert first is not None
    records.fail(records.get(0), "gone", Retry.COUNTED)
    again = next_trial(records, SIX, 6, rng)
    assert again is not None
    assert again[1] == first[1]
    assert DROPPED not in records.get(1).user_attrs


def test_a_trial_whose_point_cannot_be_drawn_is_not_left_running(tmp_path):
    def broken(trial: optuna.Trial) -> None:
        raise KeyError("optimizer")

    study, storage, _ = open_study(tmp_path, "s", str(tmp_path / "log"), ["maximize"], {})
    records = TrialRecords(study, storage)
    with pytest.raises(KeyError):
        next_trial(records, Space([], {}, broken), 6, np.random.default_rng(0))
    assert [trial.state for trial in records.trials()] == [TrialState.FAIL]
    assert "KeyError" in records.get(0).user_attrs["error"]
