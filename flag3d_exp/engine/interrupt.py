"""SIGTERM and SIGINT as a request to stop after the running step."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """The run was asked to stop by the signal `signum`; its state has been saved."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class StopRequest:
    """Catches SIGTERM and SIGINT while it is entered; a second signal stops the process at once.

    Args:
        on_any_rank: whether something holds on any rank of a job, so that all stop at one step;
            None in a job of one process.
    """

    def __init__(self, on_any_rank: Callable[[bool], bool] | None = None) -> None:
        self.on_any_rank = on_any_rank
        self.signum: int | None = None
        self._at_once = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for signum in SIGNALS:
            self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that a signal ends in its midst, as nothing is lost by that.

        For what compiles: it takes long, and an exception reaches it where it calls Python. Among
        several ranks the signal waits, as the others would wait for this one's messages.

        Raises:
            Interrupted: naming the signal.
        """
        if self.on_any_rank is not None:
            yield
            return
        self.retake()
        self._at_once = True
        try:
            if self.signum is not None:
                raise Interrupted(self.signum)
            yield
        except Exception as error:
            if self.signum is None:
                raise
            # MindSpore's compiler passes some exceptions on as others.
            raise Interrupted(self.signum) from error
        finally:
            self._at_once = False

    def requested(self) -> bool:
        """Whether a stop was requested; every rank of a job must ask at the same steps."""
        self.retake()
        requested = self.signum is not None
        if self.on_any_rank is not None:
            requested = self.on_any_rank(requested)
        if requested and self.signum is None:
            self.signum = signal.SIGTERM  # that another rank has caught
        return requested

    def check(self) -> None:
        """Raise if a stop was requested.

        Raises:
            Interrupted: naming the signal.
        """
        if self.requested():
            assert self.signum is not None
            raise Interrupted(self.signum)

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self.signum is not None:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        self.signum = signum
        if self._at_once:
            raise Interrupted(signum)

    def retake(self) -> None:
        """Take the signals again: mindspore.dataset puts in handlers of its own as it starts.

        A SIGINT that those took has come out as SIGTERM.
        """
        for signum in self._previous:
            signal.signal(signum, self._note)
