"""Servers on loopback that answer whatever a test wants, or nothing."""

import socket
from contextlib import closing


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
