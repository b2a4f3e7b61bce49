"""Slots that hand their job to a Hydra launcher."""

import pytest
from sweep.study import finish, results, search, study_folder

LAUNCHERS = {"joblib": "hydra_joblib_launcher", "submitit_local": "hydra_submitit_launcher"}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_carries_the_trials(tmp_path, launcher):
    pytest.importorskip(
        f"hydra_plugins.{LAUNCHERS[launcher]}", reason=f"{launcher} IS NOT INSTALLED: not tested"
    )
    line = search(
        f"hydra/launcher={launcher}",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.n_jobs=2",
        "task.fault=null,once,raise",
        "task.x=1.0",
        "hydra/sweeper/sampler=grid",
    )
    finish(tmp_path, line)
    found = results(tmp_path)
    assert found["trials"] == {"complete": 2, "fail": 1, "retried": 1}
    assert "this toy is broken" in " ".join(found["failures"].values())
    assert len(list(study_folder(tmp_path).glob("*/history.jsonl"))) == 3
