import threading
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from flag3d_exp.runs import delivery
from flag3d_exp.runs.delivery import Delivery, Request

AWAY = ConnectionError("no route")
REFUSED = MlflowException.invalid_parameter_value("bad name")


class Store:
    """Remembers what it was sent, and raises what it is told to, by item.

    Args:
        failures: item -> errors to raise, one a time; the last one again and again unless None.
    """

    def __init__(self, failures: dict[str, list[Exception | None]] | None = None):
        self.received: list[Any] = []
        self.failures = failures or {}
        self.num_requests = 0
        self.check_error: Exception | None = None

    def send(self, items: list[Any]) -> None:
        self.num_requests += 1
        for item in items:
            left = self.failures.get(item, [None])
            error = left.pop(0) if len(left) > 1 else left[0]
            if error is not None:
                raise error
        self.received += items

    def check(self) -> None:
        if self.check_error:
            raise self.check_error


def requests(store: Store, *names: str, kind: str = "metric", at_once: int = 1) -> list[Request]:
    items = [(name, name) for name in names]
    return [
        Request(kind, items[start : start + at_once], store.send, is_file=kind == "file")
        for start in range(0, len(items), at_once)
    ]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(delivery, "RETRY_SECONDS", 0.01)


def delivered(store: Store, *asked: Request, patience: float = 60) -> bool:
    deliveries = Delivery(store.check, patience)
    for request in asked:
        deliveries.put(request)
    return deliveries.finish(Request("status", [("end", "end")], store.send))


def test_only_the_refused_items_of_a_request_are_dropped_each_with_one_line(caplog):
    names = [f"m{number}" for number in range(100)]
    store = Store({"m7": [REFUSED], "m50": [REFUSED]})
    asked = [*requests(store, *names, at_once=100), *requests(store, *names, at_once=100)]
    assert delivered(store, *asked)
    kept = [name for name in names if name not in ("m7", "m50")]
    assert store.received == [*kept, *kept, "end"]
    assert [record.getMessage() for record in caplog.records] == [
        "MLflow refused the metric `m7`: bad name.",
        "MLflow refused the metric `m50`: bad name.",
    ]
    assert store.num_requests < 60


def test_a_store_that_is_away_for_a_while_gets_everything_in_order(caplog):
    store = Store({"b": [AWAY, AWAY, AWAY, AWAY, MlflowException("internal error"), None]})
    store.check_error = AWAY
    assert delivered(store, *requests(store, "a", "b", "c"))
    assert store.received == ["a", "b", "c", "end"]
    assert [record.getMessage() for record in caplog.records] == [
        "The tracking server is away (no route); metrics are kept meanwhile.",
        "The tracking server is back.",
    ]


def test_a_file_that_cannot_be_delivered_bars_neither_metrics_nor_other_files(caplog):
    denied = PermissionError(13, "Permission denied", "/srv/artifacts")
    gone = FileNotFoundError(2, "No such file or directory", "gone.txt")
    full = OSError(28, "No space left on device", "/srv/artifacts/full.txt")
    store = Store(
        {"denied.txt": [denied], "too.txt": [denied], "gone.txt": [gone], "full.txt": [full]}
    )
    files = requests(store, "full.txt", "denied.txt", "too.txt", "gone.txt", "ok.txt", kind="file")
    assert delivered(store, *files, *requests(store, "a", "b"))
    assert set(store.received[:-1]) == {"a", "b", "ok.txt"}
    assert store.received[-1] == "end"
    said = [record.getMessage() for record in caplog.records]
    assert sorted(said) == sorted(
        [
            "The tracking server is away (No space left on device: /srv/artifacts/full.txt); "
            "files are kept meanwhile.",
            "MLflow's place for files cannot be used (Permission denied: /srv/artifacts); "
            "they are in the run folder.",
            "MLflow did not take gone.txt (No such file or directory: gone.txt).",
        ]
    )


def test_a_request_that_fails_while_the_store_answers_others_is_given_up(caplog):
    store = Store({"b": [MlflowException("internal error")]})
    assert delivered(store, *requests(store, "a", "b", "c"))
    assert store.received == ["a", "c", "end"]
    assert "refused the metric `b`: internal error" in caplog.text


def test_a_database_that_cannot_write_is_waited_for_though_it_answers():
    locked = MlflowException("(sqlite3.OperationalError) database or disk is full")
    store = Store({"a": [*[locked] * 10, None]})
    assert delivered(store, *requests(store, "a"))
    assert store.received == ["a", "end"]


def test_after_the_run_was_deleted_nothing_is_sent(caplog):
    deleted = MlflowException.invalid_parameter_value(
        "The run 1 must be in the 'active' state. Current state is deleted."
    )
    store = Store({"a": [deleted]})
    assert not delivered(store, *requests(store, "a", "b"), *requests(store, "f", kind="file"))
    assert store.received == []
    assert len(caplog.records) == 1 and "was deleted" in caplog.text


@pytest.mark.parametrize("error", [TypeError("?"), KeyError("x"), RuntimeError("")])
def test_no_kind_of_error_stops_the_delivery(error, caplog):
    store = Store({"a": [error], "f": [error]})
    assert delivered(store, *requests(store, "a", "b"), *requests(store, "f", "g", kind="file"))
    assert store.received == ["b", "g", "end"]
    assert len(caplog.records) == 2


def test_a_store_that_stays_away_keeps_nobody_waiting_longer_than_told(caplog):
    store = Store({"a": [AWAY]})
    store.check_error = AWAY
    assert not delivered(store, *requests(store, "a", "b"), patience=0.1)
    assert "run folder" in caplog.text
    assert store.received == []


def test_many_files_are_waited_for_as_long_as_they_go_on_arriving(monkeypatch, caplog):
    gate = threading.Event()
    store = Store()
    deliveries = Delivery(store.check, patience=60)
    deliveries.put(Request("file", [("a", "a")], lambda _: gate.wait(), is_file=True))
    thread, num_waits = deliveries._thread, 0

    def join(patience: float) -> None:
        nonlocal num_waits
        num_waits += 1
        if num_waits < 4:
            deliveries._num_sent += 1  # another file arrived within that time
        else:
            gate.set()
            threading.Thread.join(thread, patience)

    monkeypatch.setattr(thread, "join", join)
    assert deliveries.finish(Request("status", [("end", "end")], store.send))
    assert store.received == ["end"]
    assert caplog.records == []
