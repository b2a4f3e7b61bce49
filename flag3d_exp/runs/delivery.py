"""A thread that delivers items to a store, so that no caller waits and no item blocks another.

Facts (metrics, parameters, tags) are delivered in order, and retried while the store is
unreachable. A request that the store refuses is halved until the refused item is alone; this item
is dropped with a warning. Files are sent after the facts; a file that cannot be delivered moves to
the end of the queue.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flag3d_exp.runs import mlflow_adapter as mlflow

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
MAX_TRIES = 3  # of an item that fails while the store answers other requests


@dataclass
class Request:
    """Items that are sent together.

    Args:
        kind: the word for one item in a warning.
        items: pairs of a name and the value to send.
        send: sends the values of the items.
        is_file: whether the items are files.
        tries: how often it failed because the store was unreachable.
    """

    kind: str
    items: Sequence[tuple[str, Any]]
    send: Callable[[list[Any]], object]
    is_file: bool = False
    tries: int = 0

    def halves(self) -> "list[Request]":
        """Two requests with half of the items each."""
        middle = len(self.items) // 2
        parts = (self.items[:middle], self.items[middle:])
        return [Request(self.kind, part, self.send, self.is_file) for part in parts]


class Delivery:
    """The queue of requests of one run to its store.

    Args:
        check: raises unless the store answers and knows the run.
        patience: seconds to wait at the end while nothing can be sent.
    """

    def __init__(self, check: Callable[[], object], patience: float):
        self._check, self._patience = check, patience
        self._arrived: queue.Queue[Request | None] = queue.Queue()
        self._facts: deque[Request] = deque()
        self._files: deque[Request] = deque()
        self._last: Request | None = None
        self._closing = self._lost = False
        self._num_sent = 0
        self._away: set[bool] = set()  # whether files, or facts, are being tried again
        self._warned: set[str] = set()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def put(self, request: Request) -> None:
        """Queue the request behind the earlier ones."""
        self._arrived.put(request)

    def finish(self, last: Request) -> bool:
        """Send `last` after all others and wait; return whether each was sent or refused."""
        self._last = last
        self._arrived.put(None)
        while self._thread.is_alive():
            num_sent = self._num_sent
            self._thread.join(self._patience)
            if self._thread.is_alive() and self._num_sent == num_sent:
                self._abandoned.set()
                log.warning(
                    "The tracking server did not answer; the missing records are in the run folder "
                    "and are delivered when the run is resumed."
                )
                return False
        return not self._lost

    def _work(self) -> None:
        while not self._abandoned.is_set():
            self._receive()
            if self._lost:
                self._facts.clear()
                self._files.clear()
                if self._closing:
                    return
            elif self._facts:
                self._try(self._facts)
            elif self._files:
                self._try(self._files)
            elif self._closing and self._last is not None:
                self._facts.append(self._last)
                self._last = None
            elif self._closing:
                return

    def _receive(self) -> None:
        """Sort new requests into the queues; block if there is nothing to send."""
        waits = not (self._facts or self._files or self._closing or self._abandoned.is_set())
        while True:
            try:
                request = self._arrived.get(block=waits)
            except queue.Empty:
                return
            waits = False
            if request is None:
                self._closing = True
            else:
                (self._files if request.is_file else self._facts).append(request)

    def _try(self, lane: deque[Request]) -> None:
        """Send the first request of a queue."""
        request = lane.popleft()
        try:
            request.send([item for _, item in request.items])
        except Exception as error:  # artifact stores raise their own exceptions
            self._see_to(request, error, lane)
        else:
            self._num_sent += 1
            if request.is_file in self._away and (request.tries or not request.is_file):
                self._away.remove(request.is_file)
                log.warning("The tracking server is back.")

    def _see_to(self, request: Request, error: Exception, lane: deque[Request]) -> None:
        """Handle a failed request: retry it later, halve it or drop it."""
        if not request.is_file and mlflow.is_deleted(error):
            self._lost = True
            self._warn(
                "deleted",
                f"The MLflow run was deleted ({mlflow.reason(error)}); its metrics are in the run "
                "folder.",
            )
        elif self._may_help_to_wait(request, error):
            request.tries += 1
            if request.is_file:
                lane.append(request)
            else:
                lane.appendleft(request)
            if request.is_file not in self._away:
                self._away.add(request.is_file)
                log.warning(
                    "The tracking server is away (%s); %s are kept meanwhile.",
                    mlflow.reason(error),
                    "files" if request.is_file else "metrics",
                )
            self._abandoned.wait(RETRY_SECONDS)
        elif len(request.items) > 1:
            lane.extendleft(reversed(request.halves()))
        else:
            self._drop(request, error)

    def _may_help_to_wait(self, request: Request, error: Exception) -> bool:
        if not mlflow.is_away(error):
            return False
        if request.tries + 1 < MAX_TRIES:
            return True
        if mlflow.cannot_write(error) and not (request.is_file and self._closing):
            return True
        try:
            self._check()
        except Exception:
            return True
        return False  # the store answers, but not to this request

    def _drop(self, request: Request, error: Exception) -> None:
        ((name, _),) = request.items
        why = mlflow.reason(error)
        if not request.is_file:
            what = f"{request.kind} `{name}`"
            self._warn(what, f"MLflow refused the {what}: {why}.")
        elif getattr(error, "filename", None) == name or not isinstance(error, OSError):
            self._warn(name, f"MLflow did not take {Path(name).name} ({why}).")
        else:
            self._warn(
                "artifacts",
                f"MLflow's place for files cannot be used ({why}); they are in the run folder.",
            )

    def _warn(self, key: str, text: str) -> None:
        """Log the text once for each key."""
        if key not in self._warned:
            self._warned.add(key)
            log.warning("%s", text)
