"""MLflow's server with this package's handler in it, asked in this process."""

import asyncio
import json
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from bad_requests import JSON, bad_requests
from exported_files import GRAPH, exported
from mlflow.pyfunc import scoring_server as mlflow_server

from flag3d_exp.data.request import MAX_BYTES
from flag3d_exp.errors import UserError
from flag3d_exp.export import scoring_server
from flag3d_exp.export.serving import Classifier, _load_pyfunc

FRAMES = [[[[0.5, 1.0, -2.0], [0.0, 0.25, 3.0]]] * 3]
GOOD = {"name": "a", "keypoints": FRAMES}


@pytest.fixture
def make_app(monkeypatch):
    """Make the app as `mlflow models serve` does: it loads the model, then makes its app."""
    monkeypatch.setattr(
        mlflow_server, scoring_server.DECORATOR, getattr(mlflow_server, scoring_server.DECORATOR)
    )
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    metadata = SimpleNamespace(get_input_schema=lambda: None)

    def make(answer):
        scoring_server.limit(answer)
        return mlflow_server.init(SimpleNamespace(metadata=metadata))

    return make


def ask(app, content: bytes, kind: str = JSON) -> tuple[int, bytes]:
    """Status and content of the app's answer."""
    sent = []
    chunks = [content[start : start + 2**20] for start in range(0, len(content), 2**20)] or [b""]
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages[-1]["more_body"] = False
    scope = {"type": "http", "method": "POST", "path": "/invocations", "query_string": b""}
    scope |= {"headers": [(b"content-type", kind.encode())], "asgi": {"version": "3.0"}}

    async def receive():
        if messages:
            return messages.pop(0)
        return await asyncio.sleep(3600, {"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, *bodies = sent
    return start["status"], b"".join(message.get("body", b"") for message in bodies)


def test_a_hundred_bad_requests_are_refused_in_one_line_and_leave_good_answers_as_they_were(
    tmp_path, make_app
):
    app = make_app(Classifier(exported(tmp_path / "model.onnx", GRAPH)).answer)
    good = json.dumps({"inputs": [GOOD]}).encode()
    status, expected = ask(app, good)
    assert status == 200
    bad = list(bad_requests(GOOD))
    assert len(bad) > 100
    memory = psutil.Process().memory_info
    before = memory().rss
    for one in bad:
        status, content = ask(app, one.content, one.kind)
        assert status == one.status, one.title
        message = json.loads(content)["message"]
        assert one.said in message, (one.title, message)
        assert len(content) < 400, one.title
        assert "\n" not in message, one.title
        assert "/" not in message.replace("application/json", ""), one.title
        assert ask(app, good) == (200, expected), one.title
    assert memory().rss < before + 200e6  # MLflow's own handler took 1600 MB more


def test_an_answer_that_is_not_finite_is_refused(tmp_path, make_app):
    classifier = Classifier(exported(tmp_path / "model.onnx", GRAPH))
    app = make_app(classifier.answer)
    object.__setattr__(
        classifier.exported, "logits", lambda clips: np.full((len(clips), 3), np.nan)
    )
    status, content = ask(app, json.dumps({"inputs": [GOOD]}).encode())
    assert status == 400
    message = "recording 'a': the network's output for it is not finite."
    assert json.loads(content)["message"] == message


def test_a_failure_of_the_model_shows_no_path_and_no_traceback(make_app, caplog):
    def fail(rows, between):
        raise RuntimeError(f"in {__file__}")

    app = make_app(fail)
    status, content = ask(app, json.dumps({"inputs": [GOOD]}).encode())
    assert status == 500
    message = "the model failed; the server's log says how."
    assert json.loads(content) == {"error_code": "INTERNAL_ERROR", "message": message}
    assert __file__ in caplog.text


def test_no_more_than_the_limit_of_a_long_request_is_kept():
    class Request:
        async def stream(self):
            for _ in range(40):
                yield b"x" * 2**20

    assert len(asyncio.run(scoring_server.read_content(Request()))) == MAX_BYTES + 1


def test_work_that_nobody_waits_for_any_longer_ends_before_the_next_recording(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    begun = []

    def answer(rows, between):
        for row in rows:
            between()
            begun.append(row)
            now[0] += 40
        return begun

    content = json.dumps({"inputs": [1, 2, 3, 4]}).encode()
    status, _ = scoring_server.answer_request(answer, JSON, content, deadline=60)
    assert (status, begun) == (504, [1, 2])
    status, _ = scoring_server.answer_request(answer, JSON, content, deadline=60)
    assert (status, begun) == (504, [1, 2])


def test_only_mlflows_server_is_changed_by_loading_a_model(tmp_path, monkeypatch):
    before = getattr(mlflow_server, scoring_server.DECORATOR)
    path = exported(tmp_path / "model.onnx", GRAPH)
    _load_pyfunc(str(path))
    assert getattr(mlflow_server, scoring_server.DECORATOR) is before
    monkeypatch.setattr(mlflow_server, scoring_server.DECORATOR, before)
    monkeypatch.setitem(scoring_server.sys.modules, scoring_server.APP, None)
    _load_pyfunc(str(path))
    assert getattr(mlflow_server, scoring_server.DECORATOR) is not before


def test_the_server_is_told_to_have_changed(monkeypatch, caplog):
    monkeypatch.delattr(mlflow_server, scoring_server.DECORATOR)
    scoring_server.limit(lambda rows, between: [])
    assert "without limits" in caplog.text


def test_refusals_stay_refusals(make_app):
    def refuse(rows, between):
        raise UserError("no such thing.")

    app = make_app(refuse)
    status, content = ask(app, b'{"inputs": [{}]}')
    assert (status, json.loads(content)["message"]) == (400, "no such thing.")
