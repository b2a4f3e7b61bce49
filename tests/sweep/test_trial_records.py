from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.trial import TrialState

from flag3d_exp.sweep.results import state_counts
from flag3d_exp.sweep.storage import open_study
from flag3d_exp.sweep.trial_records import (
    DROPPED,
    FOLDER,
    Retry,
    TrialRecords,
    counted_trials,
    successors,
)


@pytest.fixture
def open_records(tmp_path):
    def opened(max_retries: int = 2) -> TrialRecords:
        address = str(tmp_path / "journal.log")
        study, storage, _ = open_study(tmp_path, "s", address, ["maximize"], {})
        return TrialRecords(study, storage, max_retries)

    return opened


def test_a_dead_trial_is_continued_in_its_folder_with_its_parameters_and_reports(open_records):
    records = open_records()
    trial = records.claim(5)
    trial.suggest_float("x", 0, 1)
    trial.report(0.5, 1)
    assert records.fail(records.get(0), "gone", Retry.COUNTED)

    again = records.claim(5)
    assert again.number == 1
    assert again.params == records.get(0).params
    assert records.get(1).intermediate_values == {1: 0.5}
    assert records.get(1).user_attrs[FOLDER] == "0"
    assert again.suggest_float("x", 0, 1) == records.get(0).params["x"]
    assert dict(state_counts(records.trials())) == {"running": 1, "retried": 1}


def test_a_trial_is_given_up_after_max_retries_and_then_counts(open_records):
    records = open_records(max_retries=1)
    for number in (0, 1):
        assert records.claim(1).number == number
        records.fail(records.get(number), "gone", Retry.COUNTED)
    assert records.claim(1) is None
    assert dict(state_counts(records.trials())) == {"fail": 1, "retried": 1}


def test_being_asked_to_stop_is_no_death(open_records):
    records = open_records(max_retries=0)
    for number in range(3):
        assert records.claim(1).number == number
        records.fail(records.get(number), "stopped", Retry.FREE)
    assert records.claim(1).number == 3


def test_an_error_is_not_tried_again(open_records):
    records = open_records()
    records.claim(1)
    records.fail(records.get(0), "ValueError", Retry.NO)
    assert records.claim(1) is None


def test_of_two_retries_of_one_trial_the_later_is_dropped(open_records):
    one, other = open_records(), open_records()
    one.claim(2)
    dead = one.get(0)
    successor_of = one.study.add_trial
    one.fail(dead, "gone", Retry.COUNTED)
    from flag3d_exp.sweep.trial_records import successor

    successor_of(successor(dead, 1))  # as if another process had not seen the first yet
    assert successors(one.trials()) == {0: 1}
    assert [other.claim(2).number, one.claim(2).number] == [1, 3]
    assert one.get(2).state == TrialState.FAIL
    assert DROPPED in one.get(2).user_attrs
    assert [t.number for t in counted_trials(one.trials())] == [1, 3]


def test_a_retry_of_a_trial_that_ended_after_all_is_dropped(open_records):
    from flag3d_exp.sweep.trial_records import successor

    records = open_records()
    records.claim(1)
    records.study.add_trial(successor(records.get(0), 1))
    records.study.tell(0, 1.0)
    assert not records.fail(records.get(0), "gone", Retry.COUNTED)
    assert records.claim(1) is None
    assert dict(state_counts(records.trials())) == {"complete": 1, "dropped": 1}


def test_claims_at_once_never_exceed_the_budget(open_records):
    all_records = [open_records() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda records: [records.claim(5), records.claim(5)], all_records))
    numbers = [trial.number for pair in claimed for trial in pair if trial is not None]
    assert len(numbers) == len(set(numbers)) == 5
    assert len(counted_trials(all_records[0].trials())) == 5


def test_another_direction_is_refused(tmp_path):
    address = str(tmp_path / "journal.log")
    open_study(tmp_path, "s", address, ["maximize"], {})
    with pytest.raises(Exception, match="is there with directions"):
        open_study(tmp_path, "s", address, ["minimize"], {})


def test_the_journal_outlives_the_study_object(tmp_path, open_records):
    open_records().claim(3)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    )
    assert len(optuna.load_study(study_name="s", storage=storage).trials) == 1
