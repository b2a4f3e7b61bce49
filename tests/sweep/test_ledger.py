from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.trial import TrialState

from flag3d_exp.sweep.ledger import DROPPED, FOLDER, Ledger, Retry, counted, successors
from flag3d_exp.sweep.results import state_counts
from flag3d_exp.sweep.storage import open_study


@pytest.fixture
def open_ledger(tmp_path):
    def opened(max_retries: int = 2) -> Ledger:
        address = str(tmp_path / "journal.log")
        study, storage, _ = open_study(tmp_path, "s", address, ["maximize"], {})
        return Ledger(study, storage, max_retries)

    return opened


def test_a_dead_trial_is_continued_in_its_folder_with_its_parameters_and_reports(open_ledger):
    ledger = open_ledger()
    trial = ledger.claim(5)
    trial.suggest_float("x", 0, 1)
    trial.report(0.5, 1)
    assert ledger.fail(ledger.get(0), "gone", Retry.COUNTED)

    again = ledger.claim(5)
    assert again.number == 1
    assert again.params == ledger.get(0).params
    assert ledger.get(1).intermediate_values == {1: 0.5}
    assert ledger.get(1).user_attrs[FOLDER] == "0"
    assert again.suggest_float("x", 0, 1) == ledger.get(0).params["x"]
    assert dict(state_counts(ledger.trials())) == {"running": 1, "retried": 1}


def test_a_trial_is_given_up_after_max_retries_and_then_counts(open_ledger):
    ledger = open_ledger(max_retries=1)
    for number in (0, 1):
        assert ledger.claim(1).number == number
        ledger.fail(ledger.get(number), "gone", Retry.COUNTED)
    assert ledger.claim(1) is None
    assert dict(state_counts(ledger.trials())) == {"fail": 1, "retried": 1}


def test_being_asked_to_stop_is_no_death(open_ledger):
    ledger = open_ledger(max_retries=0)
    for number in range(3):
        assert ledger.claim(1).number == number
        ledger.fail(ledger.get(number), "stopped", Retry.FREE)
    assert ledger.claim(1).number == 3


def test_an_error_is_not_tried_again(open_ledger):
    ledger = open_ledger()
    ledger.claim(1)
    ledger.fail(ledger.get(0), "ValueError", Retry.NO)
    assert ledger.claim(1) is None


def test_of_two_retries_of_one_trial_the_later_is_dropped(open_ledger):
    one, other = open_ledger(), open_ledger()
    one.claim(2)
    dead = one.get(0)
    successor_of = one.study.add_trial
    one.fail(dead, "gone", Retry.COUNTED)
    from flag3d_exp.sweep.ledger import successor

    successor_of(successor(dead, 1))  # as if another process had not seen the first yet
    assert successors(one.trials()) == {0: 1}
    assert [other.claim(2).number, one.claim(2).number] == [1, 3]
    assert one.get(2).state == TrialState.FAIL
    assert DROPPED in one.get(2).user_attrs
    assert [t.number for t in counted(one.trials())] == [1, 3]


def test_a_retry_of_a_trial_that_ended_after_all_is_dropped(open_ledger):
    from flag3d_exp.sweep.ledger import successor

    ledger = open_ledger()
    ledger.claim(1)
    ledger.study.add_trial(successor(ledger.get(0), 1))
    ledger.study.tell(0, 1.0)
    assert not ledger.fail(ledger.get(0), "gone", Retry.COUNTED)
    assert ledger.claim(1) is None
    assert dict(state_counts(ledger.trials())) == {"complete": 1, "dropped": 1}


def test_claims_at_once_never_exceed_the_budget(open_ledger):
    ledgers = [open_ledger() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda ledger: [ledger.claim(5), ledger.claim(5)], ledgers))
    numbers = [trial.number for pair in claimed for trial in pair if trial is not None]
    assert len(numbers) == len(set(numbers)) == 5
    assert len(counted(ledgers[0].trials())) == 5


def test_another_direction_is_refused(tmp_path):
    address = str(tmp_path / "journal.log")
    open_study(tmp_path, "s", address, ["maximize"], {})
    with pytest.raises(Exception, match="is there with directions"):
        open_study(tmp_path, "s", address, ["minimize"], {})


def test_the_journal_outlives_the_study_object(tmp_path, open_ledger):
    open_ledger().claim(3)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    )
    assert len(optuna.load_study(study_name="s", storage=storage).trials) == 1
