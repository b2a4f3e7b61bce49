"""What the files of experiments promise."""

import pytest
import yaml

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.refusals import check_command_line

EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))
PUBLISHED = ("_in_domain", "_out_domain")
TRAINED = [p for p in EXPERIMENTS if p.stem.endswith(PUBLISHED) and "published" not in p.stem]
NEWER = ("protogcn", "blockgcn", "skateformer")  # trained as their authors do, not as FLAG3D's
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
    size, parts = task["batch_size"], task["accumulate"]
    assert f"Global batch {size * parts} = {size} clips x {parts} " in text
    assert "# Memory" in text and f"# Time of {task['epochs']} epochs, estimated: " in text
    if not path.stem.startswith(NEWER):
        assert (size * parts, task["epochs"]) == (64, 30)
    check_command_line([f"experiment={path.stem}", "dataset.path=x.pkl"])
