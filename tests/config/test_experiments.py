"""What the files of experiments promise."""

import pytest
import yaml

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.refusals import check_command_line

EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))
PUBLISHED = ("_in_domain", "_out_domain")
TRAINED = [p for p in EXPERIMENTS if p.stem.endswith(PUBLISHED) and "published" not in p.stem]
CLOSING = [
    *("uiprmd_domain", "penn_domain", "penn_to_repcount", "repcount_to_penn", "demo_to_real"),
    "flag3d_domain",
]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_says_how_to_run_it_and_what_to_expect(path):
    head = path.read_text(encoding="utf-8").partition("defaults:")[0]
    assert f"experiment={path.stem}" in head and "# Expected" in head


@pytest.mark.parametrize("name", CLOSING)
def test_an_experiment_that_closes_a_gap_composes_and_says_its_seeds_and_time(name):
    text = (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8")
    assert "seed=1,2,3" in text and ("# Time" in text or "time" in text)
    check_command_line([f"experiment={name}", "dataset.path=x.pkl"])


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_flag3d_s_experiments_have_the_published_global_batch_in_parts_that_fit(path):
    text = path.read_text(encoding="utf-8")
    task = yaml.safe_load(text)["task"]
    assert task["batch_size"] * task["accumulate"] == 64
    assert f"{task['batch_size']} clips x {task['accumulate']} " in text
    assert "# Memory, estimated: " in text and "# Time of 30 epochs, estimated: " in text
