"""Whole searches on the toy task: what goes wrong is recorded, nothing is lost or run twice."""

import json
import os
import signal
import time

import psutil
import pytest
from cli import runs
from sweep import study
from sweep.study import finish, num_epochs, results, search, study_folder, until

from flag3d_exp.sweep.storage import open_storage, open_study
from flag3d_exp.sweep.trial_records import TrialRecords


def trials(folder):
    import optuna

    name = study_folder(folder).name
    storage = open_storage(str(study_folder(folder) / "journal.log"))
    return optuna.load_study(study_name=name, storage=storage).trials


def ended_in_full(folder, num_trials):
    """Each trial's toy went through each of its four epochs once, in one folder."""
    found = [path.read_text() for path in study_folder(folder).glob("*/history.jsonl")]
    epochs = [[json.loads(line)["epoch"] for line in text.splitlines()] for text in found]
    assert epochs == [[1, 2, 3, 4]] * num_trials


def test_the_same_command_continues_the_study(tmp_path):
    finish(tmp_path, search("hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2"))
    said = finish(tmp_path, search("hydra.sweeper.n_trials=3"))
    assert "study search-stgcn_small-demo_in_domain: 2 complete" in said
    assert results(tmp_path)["trials"] == {"complete": 3}
    assert results(tmp_path)["epochs"] == 12
    points = [trial.params["task.x"] for trial in trials(tmp_path)]
    assert len(set(points)) == 3
    best = max(-((x - 3) ** 2) for x in points)
    assert results(tmp_path)["best_value"] == pytest.approx(best)
    assert "task=best task.study=" in said
    ended_in_full(tmp_path, 3)


def test_failures_are_recorded_and_the_search_goes_on(tmp_path):
    finish(
        tmp_path,
        search(
            "task.x=2.0",
            "task.fault=null,raise,exit,die,once",
            "hydra.sweeper.n_jobs=2",
            "hydra/sweeper/sampler=grid",
            "hydra.sweeper.max_retries=2",
        ),  # fmt: skip
    )
    found = results(tmp_path)
    # `die` dies at epoch 2, is continued after that epoch, and so survives; `once` likewise
    assert found["trials"] == {"complete": 3, "fail": 2, "retried": 2}
    reasons = " | ".join(found["failures"].values())
    for reason in ("RuntimeError: this toy is broken", "exit code 3", "killed by signal 9"):
        assert reason in reasons


def test_too_many_failures_end_the_search_with_a_reason(tmp_path):
    said = finish(
        tmp_path,
        search("task.fault=raise", "hydra.sweeper.max_failures=2", "hydra.sweeper.n_trials=9"),
        code=1,
    )
    assert "2 trials failed; `hydra.sweeper.max_failures` is 2" in said
    assert "this toy is broken" in said
    assert results(tmp_path)["trials"] == {"fail": 2}


def test_a_search_of_which_every_trial_fails_fails(tmp_path):
    line = search("task.fault=raise", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2")
    line.remove("tracking=none")
    said = finish(tmp_path, line, code=1)
    assert "error: all 2 trials failed; the last: trial 1: RuntimeError: this toy is broken" in said
    assert [run.info.status for run in runs(tmp_path)] == ["FAILED"]


def test_a_study_is_not_continued_with_other_settings(tmp_path):
    finish(tmp_path, search("hydra.sweeper.n_trials=1"))
    before = results(tmp_path)
    said = finish(tmp_path, search("hydra.sweeper.n_trials=2", "stream=bone"), code=1)
    assert "`stream.name` was joint, now bone" in said
    assert results(tmp_path) == before


def test_a_bad_trial_is_pruned_and_saves_its_epochs(tmp_path):
    median = ("hydra.sweeper.pruner.n_startup_trials=1", "hydra.sweeper.pruner.n_warmup_steps=0")
    space = ("task.x=0.0,3.0", "hydra/sweeper/sampler=grid", "task.epochs=6")
    finish(tmp_path, search(*median, *space))
    found = [(trial.params["task.x"], trial.state.name) for trial in trials(tmp_path)]
    assert found == [(3.0, "COMPLETE"), (0.0, "PRUNED")]
    assert results(tmp_path)["epochs"] == 7
    assert num_epochs(tmp_path, "1") == 1


def test_several_objectives_give_a_pareto_front(tmp_path):
    line = search(
        "task.x=1,2,3,4",
        "hydra/sweeper/sampler=grid",
        "hydra/sweeper/pruner=none",
        "hydra.sweeper.objectives={val/top1:maximize,size:minimize}",
        "hydra.sweeper.n_jobs=2",
    )
    finish(tmp_path, line)
    front = sorted(point["params"]["task.x"] for point in results(tmp_path)["pareto_front"])
    assert front == [1, 2, 3]  # 4 is as good as 2, and larger


def test_a_conditional_function_draws_the_rest(tmp_path):
    line = search("hydra.sweeper.conditional=sweep.toy.odd_x", "hydra.sweeper.n_trials=2",
                  "task.epochs=4,5", "hydra/sweeper/sampler=random")  # fmt: skip
    line.remove("task.x=interval(0.0,6.0)")
    finish(tmp_path, line)
    for trial in trials(tmp_path):
        assert ("task.x" in trial.params) == (trial.params["task.epochs"] == 4)


@pytest.mark.parametrize("victims", ["group", "driver", "job"])
def test_kill_9_loses_no_trial_and_runs_none_twice(tmp_path, victims):
    held = tmp_path / "held"
    held.touch()
    line = search("hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", f"task.held={held}")
    driver = study.start(tmp_path, line)
    until(lambda: [num_epochs(tmp_path, number) for number in "01"] == [2, 2])
    jobs = study.job_processes(driver)
    match victims:
        case "group":
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
            psutil.wait_procs(jobs)
        case "driver":
            driver.kill()
            driver.wait()
        case "job":
            jobs[0].kill()
            held.unlink()
            driver.wait()
    held.unlink(missing_ok=True)
    finish(tmp_path, line)
    retried = {"group": 2, "driver": 0, "job": 1}[victims]
    expected = {"complete": 4} | ({"retried": retried} if retried else {})
    assert results(tmp_path)["trials"] == expected
    ended_in_full(tmp_path, 4)
    if victims == "group":
        assert "starts after epoch 2" in (study_folder(tmp_path) / "0/output.log").read_text()


def test_ctrl_c_stops_in_order_and_the_study_goes_on(tmp_path):
    held = tmp_path / "held"
    held.touch()
    line = search("hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=2", f"task.held={held}")
    driver = study.start(tmp_path, line)
    until(lambda: [num_epochs(tmp_path, number) for number in "01"] == [2, 2])
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
    assert driver.wait(300) == 130
    held.unlink()
    said = (tmp_path / "driver.log").read_text()
    assert "the same command continues the study" in said
    assert results(tmp_path)["trials"] == {"waiting": 2, "retried": 2}
    finish(tmp_path, line)
    assert results(tmp_path)["trials"] == {"complete": 3, "retried": 2}
    ended_in_full(tmp_path, 3)


def test_a_second_ctrl_c_leaves_no_running_trial(tmp_path):
    driver = study.start(tmp_path, search("hydra.sweeper.n_trials=2", "task.seconds=600"))
    log, job_log = tmp_path / "driver.log", tmp_path / "multirun"
    until(lambda: any("starts" in path.read_text() for path in job_log.glob("*/0/output.log")))
    (job,) = study.job_processes(driver)
    for expected in ("stopping 1 jobs", "the same command continues the study"):
        os.killpg(driver.pid, signal.SIGINT)
        until(lambda expected=expected: expected in log.read_text())
    assert driver.wait(300) == 130
    assert not job.is_running()
    assert results(tmp_path)["trials"] == {"waiting": 1, "retried": 1}


def test_two_drivers_share_a_study(tmp_path):
    line = search("hydra.sweeper.n_trials=5", "hydra/sweeper/pruner=none", "task.seconds=0.1")
    drivers = [study.start(tmp_path, line) for _ in range(2)]
    assert [driver.wait(300) for driver in drivers] == [0, 0]
    found = results(tmp_path)["trials"]
    found.pop("dropped", None)
    assert found == {"complete": 5}
    ended_in_full(tmp_path, 5)


def test_a_silent_trial_of_another_host_is_continued_here(tmp_path):
    line = search("hydra.sweeper.n_trials=1", "hydra.sweeper.grace=2")
    folder = tmp_path / "multirun" / "search-stgcn_small-demo_in_domain"
    address = str(folder / "journal.log")
    opened, storage, _ = open_study(folder, folder.name, address, ["maximize"], {})
    records = TrialRecords(opened, storage)
    number = records.claim(1).number
    records.note(number, owner={"host": "elsewhere.invalid", "pid": 1, "started": 0.0})
    began = time.monotonic()
    finish(tmp_path, line)
    assert time.monotonic() - began > 2
    assert results(tmp_path)["trials"] == {"complete": 1, "retried": 1}


def test_a_job_refuses_a_trial_that_has_ended(tmp_path):
    finish(tmp_path, search("hydra.sweeper.n_trials=1"))
    folder = study_folder(tmp_path) / "0"
    line = study.single("task=toy", "task.resume=auto", "tracking=none", f"hydra.run.dir={folder}")
    assert "Trial 0 of study" in finish(tmp_path, line, code=1)
