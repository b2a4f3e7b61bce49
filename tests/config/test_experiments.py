"""What the files of experiments promise."""

import pytest
import yaml

from flag3d_exp.config.checks import CONF

EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))
TRAINED = [p for p in EXPERIMENTS if p.stem.endswith("_domain") and "published" not in p.stem]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_says_how_to_run_it_and_what_to_expect(path):
    head = path.read_text(encoding="utf-8").partition("defaults:")[0]
    assert f"experiment={path.stem}" in head and "# Expected" in head


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_flag3d_s_experiments_have_the_published_global_batch_in_parts_that_fit(path):
    text = path.read_text(encoding="utf-8")
    task = yaml.safe_load(text)["task"]
    assert task["batch_size"] * task["accumulate"] == 64
    assert f"{task['batch_size']} clips x {task['accumulate']} " in text
    assert "# Memory, estimated: " in text and "# Time of 30 epochs, estimated: " in text
