"""Fixtures for tests of tracking: an MLflow store at once, and servers that misbehave."""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import respond

from flag3d_exp.runs.tracking import connect


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """An SQLite store of MLflow with nothing in it; MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def store(empty_store, tmp_path, monkeypatch) -> str:
    """The URI of a fresh store in `tmp_path`, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def serve() -> Iterator[Callable[[bytes | None], str]]:
    """A function that starts a server, whose every answer is the bytes given, or none at all."""
    running = []

    def start(response: bytes | None) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=respond, args=(listener, response), daemon=True)
        running.append((listener, thread))
        thread.start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener, thread in running:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
