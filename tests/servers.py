"""Servers on loopback: of MLflow, and such as answer whatever a test wants, or nothing."""

import os
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing, suppress
from pathlib import Path


def answer(status: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    """An HTTP response."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def respond(listener: socket.socket, response: bytes | None) -> None:
    """Give every request the same response; with None, accept connections and say nothing."""
    waiting: list[socket.socket] = []
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # shut down
            for connection in waiting:
                connection.close()
            return
        if response is None:
            waiting.append(connection)
            continue
        with closing(connection):
            head, _, body = connection.recv(1 << 20).partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            while len(body) < length:
                body += connection.recv(1 << 20)
            connection.sendall(response)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class MlflowServer:
    """An MLflow server on loopback that can be stopped and started again."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        store = f"sqlite:///{self.folder}/server.db"
        arguments = ["server", "--backend-store-uri", store, "--host", "127.0.0.1"]
        arguments += ["--port", str(self.port), "--workers", "1"]
        arguments += ["--default-artifact-root", str(self.folder / "artifacts")]
        with open(self.folder / "server.log", "a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *arguments],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.2)
        raise TimeoutError("the MLflow server did not start")

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class Guarded(socketserver.BaseRequestHandler):
    """Passes a connection on to another port if its first request has the right header."""

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = self.request.recv(1 << 16)
            if not part:
                return
            head += part
        assert isinstance(self.server, Guard)
        if self.server.header not in head.lower():
            self.request.sendall(answer("401 Unauthorized", b"Not authenticated.", "text/plain"))
            return
        self.server.num_passed += 1
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            upstream.sendall(head)
            other = {self.request: upstream, upstream: self.request}
            while True:
                for ready in select.select([*other], [], [])[0]:
                    part = ready.recv(1 << 16)
                    if not part:
                        return
                    other[ready].sendall(part)


class Guard(socketserver.ThreadingTCPServer):
    """A port that passes on to another one what comes with a header; a block that serves it."""

    def __init__(self, upstream: int, header: str):
        super().__init__(("127.0.0.1", 0), Guarded)
        self.upstream, self.header = upstream, header.lower().encode()
        self.port, self.num_passed = self.server_address[1], 0

    def __enter__(self) -> "Guard":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
