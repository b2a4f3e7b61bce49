"""SIGTERM and SIGINT as a request to stop after the running step."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AGAIN = 0.5  # seconds after which a swallowed exception is raised again


class Interrupted(Exception):
    """The run was asked to stop by the signal `signum`; its state has been saved."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Pruned(Exception):
    """A sweep stops this run because it is worse than others; it ends early, without an error."""


class StopRequest:
    """Catch SIGTERM and SIGINT in a `with` block; a further signal stops the process at once.

    Within the block, SIGALRM and its timer are reserved.

    Args:
        on_any_rank: a flag -> whether it is true on any rank of a job, so that all ranks stop at
            the same step; None in a job of one process.
        patience: number of signals that are caught before the next signal stops the process.
    """

    def __init__(
        self, on_any_rank: Callable[[bool], bool] | None = None, patience: int = 1
    ) -> None:
        self.on_any_rank, self.patience = on_any_rank, patience
        self.signum: int | None = None
        self.num_signals = 0
        self._at_once = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for signum in SIGNALS:
            self._previous[signum] = signal.signal(signum, self._note)
        self._previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._insist)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal interrupt the block at once; for blocks that have no state to save.

        This is for compilation, which takes long. The exception reaches the compiler where it calls
        Python. Some of these places swallow exceptions, so it is raised again until the block is
        left. With several ranks the signal waits for the end of the block, because the other ranks
        would wait for the messages of this one.

        Raises:
            Interrupted: names the signal.
        """
        if self.on_any_rank is not None:
            yield
            return
        self._at_once = True
        try:
            self.check()
            yield
        except Exception as error:
            if self.signum is None:
                raise
            # MindSpore's compiler converts some exceptions to other types.
            raise Interrupted(self.signum) from error
        finally:
            self._at_once = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def is_requested(self) -> bool:
        """Whether a stop was requested; every rank of a job must ask at the same steps."""
        requested = self.signum is not None
        if self.on_any_rank is not None:
            requested = self.on_any_rank(requested)
        if requested and self.signum is None:
            self.signum = signal.SIGTERM  # another rank has caught a signal
        return requested

    def check(self) -> None:
        """Raise if a stop was requested.

        Raises:
            Interrupted: names the signal.
        """
        if self.is_requested():
            assert self.signum is not None
            raise Interrupted(self.signum)

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self.num_signals >= self.patience:
            _die(signum)
        self.num_signals += 1
        self.signum = signum
        if self._at_once:
            signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
            raise Interrupted(signum)

    def _insist(self, *_: object) -> None:
        if self._at_once:
            self.check()


def end_on_sigterm() -> None:
    """Install a SIGTERM handler that prints one line and exits with code 143."""

    def end(signum: int, _: FrameType | None) -> None:
        os.write(2, f"stopped by {signal.Signals(signum).name}\n".encode())
        os._exit(128 + signum)

    signal.signal(signal.SIGTERM, end)


@contextmanager
def keep_sigint() -> Iterator[None]:
    """Keep Python's SIGINT handler during the block; MindSpore replaces it.

    Each run of a compiled graph installs a handler that sends SIGTERM to the process. So every
    thread that is started within the block has SIGINT blocked. A separate thread waits for SIGINT
    and wakes the main thread by SIGURG, which otherwise does nothing. Threads that were started
    earlier would still receive SIGINT, so enter the block before MindSpore or NumPy is imported.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main, over = threading.get_ident(), threading.Event()

    def pass_on() -> None:
        while True:
            signal.sigwait({signal.SIGINT})
            if over.is_set():
                return
            signal.pthread_kill(main, signal.SIGURG)

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = signal.signal(signal.SIGURG, _run_handler_of_sigint)
    waiting = threading.Thread(target=pass_on, name="sigint", daemon=True)
    waiting.start()
    try:
        yield
    finally:
        over.set()
        assert waiting.ident is not None
        signal.pthread_kill(waiting.ident, signal.SIGINT)
        waiting.join()
        signal.signal(signal.SIGURG, before)
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))  # instead of MindSpore's
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _run_handler_of_sigint(_: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
    elif handler == signal.SIG_DFL:
        _die(signal.SIGINT)


def _die(signum: int) -> None:
    """End the process with the default action of the signal."""
    signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})
    signal.raise_signal(signum)
