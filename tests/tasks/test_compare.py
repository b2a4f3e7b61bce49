import json

import numpy as np
import pytest
from made_up_runs import made_up_run
from omegaconf import OmegaConf

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.results import intervals
from flag3d_exp.runs.references import by_seed, open_runs
from flag3d_exp.tasks.compare import Compare

NAMES = [f"r{number}" for number in range(90)]
LABELS = np.arange(90) % 3


def config(model: str, seed: int, **optimizer) -> dict:
    return {
        "seed": seed,
        "model": {"_target_": f"flag3d_exp.models.{model}"},
        "stream": {"name": "joint"},
        "optimizer": optimizer,
        "tracking": {"uri": None},
        "device": {"id": seed},  # where a run was is no difference
    }


def made(folder, model: str, seed: int, quality: float = 1.0, **optimizer) -> str:
    name = f"{model}-{seed}-{len(list(folder.iterdir()))}"
    return made_up_run(
        *(folder / name, {"val": quality}, NAMES, LABELS, 3), seed=seed + int(10 * quality),
        config=config(model, seed, **optimizer),
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Compare runs; what it wrote."""

    def run(runs: list[str]) -> tuple[str, dict]:
        folder = tmp_path / "compared"
        folder.mkdir()
        experiment = Experiment(OmegaConf.create({"tracking": {"uri": None}}), folder, {})
        Compare(runs)(experiment)
        return (folder / "compare.md").read_text(), json.loads(
            (folder / "compare.json").read_text()
        )

    return run


def test_runs_that_differ_by_seed_are_compared_in_groups(tmp_path, run):
    runs = [made(tmp_path, "A", seed, 0.5) for seed in (1, 2, 3)]
    runs += [made(tmp_path, "B", seed, 2.5) for seed in (1, 2, 3)]
    text, found = run(runs)
    assert "| A joint | 3 |" in text and "| B joint | 3 |" in text
    assert "| B joint - A joint |" in text and "McNemar" not in text
    (one,) = found["val"]["differences"]
    groups = found["val"]["groups"]
    assert one["points"]["value"] == pytest.approx(
        np.mean(groups["B joint"]) - np.mean(groups["A joint"])
    )
    assert one["p_value"] < 0.05
    assert len(found["val"]["pairs"]) == 15


def test_runs_of_other_settings_are_other_groups_named_by_what_differs(tmp_path):
    runs = [made(tmp_path, "A", seed, lr=lr) for lr in (0.1, 0.2) for seed in (1, 2)]
    groups = by_seed(open_runs(runs))
    assert {title: len(group) for title, group in groups.items()} == {
        "A joint optimizer.lr=0.1": 2,
        "A joint optimizer.lr=0.2": 2,
    }


def test_one_seed_twice_is_no_group(tmp_path, run):
    text, found = run([made(tmp_path, "A", 1), made(tmp_path, "A", 1)])
    assert "McNemar p" in text and "groups" not in found["val"]


def test_a_difference_over_recordings_is_that_of_the_mean_accuracies():
    one, other = np.array([1, 1, 0.5, 0]), np.array([0, 1, 0, 0])
    found = intervals.mean_difference(one, other)
    assert found.value == pytest.approx(1.5 / 4)
    assert 0 == found.low <= found.value <= found.high <= 1
