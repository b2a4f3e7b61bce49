import json

import pytest

from flag3d_exp.runs.record import tracked_run
from flag3d_exp.runs.tracking import Tracking, connect


def test_a_run_that_fails_before_its_task_begins_is_not_left_running(store, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    settings = Tracking(uri=store)
    with tracked_run(settings, folder, "name", {}, {"seed": 1}) as tracker:
        pass
    run_id = json.loads((folder / "mlflow.json").read_text())["run_id"]
    assert run_id == tracker.run_id
    (folder / "history.jsonl").write_text('{"of": "another program"}\n')
    with pytest.raises(Exception), tracked_run(settings, folder, "name", {}, {}):  # noqa: B017
        pytest.fail("the history was read")
    assert connect(store).get_run(run_id).info.status == "FAILED"
