"""`debug=...` from the command line."""

import pytest
from cli import TINY, program, refused, succeeded

pytestmark = pytest.mark.slow


def test_a_smoke_test_runs_from_end_to_end_untracked_in_a_folder_of_its_own(tmp_path):
    lines = succeeded(tmp_path, *TINY, "debug=smoke").splitlines()
    assert lines[1].startswith("epoch 1/1") and lines[2].startswith("val: top1")
    (run,) = (tmp_path / "outputs" / "debug").iterdir()
    assert run.name.endswith("-smoke") and (run / "metrics.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_run_that_failed_is_traced_to_the_layer_from_its_last_checkpoint(tmp_path):
    diverging = (*TINY, "optimizer.lr=1e30", "task.save_every=1", "hydra.run.dir=run")
    line = refused(tmp_path, *diverging, "tracking=none")
    assert "`task.nonfinite=skip`" in line
    started_with = (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text()
    lines = succeeded(tmp_path, "task.resume=run", "debug=nonfinite").splitlines()
    assert lines[0].startswith("resumed after epoch 0, step ")
    assert lines[2].startswith("update ") and "not finite after it" in lines[2]
    assert lines[3].startswith("First not finite: the output of `") and "S0" in lines[3]
    assert (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text() == started_with
    (batch,) = (tmp_path / "run").glob("nonfinite_step_*.npz")
    told = succeeded(
        tmp_path, *TINY, "debug=nonfinite", f"task.debug.batch={batch}", "tracking=none"
    )
    assert told.splitlines()[-1].endswith("every output and gradient is finite.")


def test_debugging_is_for_training(tmp_path):
    line = refused(tmp_path, "task=summary", "debug=nonfinite")
    assert "`task.debug` is not a setting" in line
    assert "`debug=...`" in refused(tmp_path, "task.debug=overfit")


def test_a_batch_that_cannot_be_learnt_ends_with_an_error(tmp_path):
    done = program(tmp_path, *TINY, "debug=overfit", "task.debug.steps=2", "optimizer.lr=1e-9")
    assert done.returncode == 1
    assert "The batch was not learnt" in done.stderr
    assert next((tmp_path / "outputs" / "debug").iterdir()).name.endswith("-overfit")
