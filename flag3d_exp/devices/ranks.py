"""The processes of a data-parallel job, one per device, as MindSpore's `msrun` starts them.

A process without msrun is rank 0 of a world of one; then neither MindSpore nor NumPy is imported
here.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from flag3d_exp.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import psutil


PATIENCE = 10.0  # seconds that the scheduler has to end by itself after the ranks


@dataclass(frozen=True)
class Ranks:
    """The rank of this process within its job.

    The methods are collective: every rank must call them in the same order. They use float32 and
    int32 messages, which all of MindSpore's backends have.

    Args:
        rank: number of this process, from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls) -> "Ranks":
        """The rank of this process, from msrun's environment variables.

        Raises:
            UserError: msrun has not got the number of this machine among several machines.
        """
        if os.environ.get("MS_ROLE") != "MS_WORKER":
            return cls()
        if "RANK_ID" not in os.environ:
            raise UserError("msrun gave no rank: pass `--node_rank=<0, 1, ...>` on each machine.")
        return cls(int(os.environ["RANK_ID"]), int(os.environ["MS_WORKER_NUM"]))

    @staticmethod
    def serve_scheduler() -> bool:
        """If this process is msrun's scheduler, serve the ranks until they end; return whether.

        msrun starts the program once more as scheduler, with the same command line. MindSpore's
        scheduler waits for ranks that ended before they reported to it, as after an error in a
        setting; this one ends with them.
        """
        if os.environ.get("MS_ROLE") != "MS_SCHED":
            return False
        if not os.fork():  # a process, because MindSpore's wait stops all threads of this one
            _end_after_the_ranks(os.getppid())
            os._exit(0)
        from mindspore.communication import init

        init()
        return True

    @property
    def first(self) -> bool:
        """Whether this process is the one that logs and saves."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any rank."""
        if self.world == 1:
            return flag
        import numpy as np

        return bool(self.gather(np.array([flag], np.float32)).any())

    def gather(self, values: "np.ndarray") -> "np.ndarray":
        """(n, ...) float32 of each rank -> (world, n, ...)."""
        if self.world == 1:
            return values[None]
        import numpy as np
        from mindspore import Tensor, ops

        gather: Any = ops.AllGather()
        together = gather(Tensor(np.ascontiguousarray(values, np.float32)))
        return together.asnumpy().reshape(self.world, *values.shape)

    def broadcast(self, content: bytes) -> bytes:
        """The content of rank 0, on every rank."""
        if self.world == 1:
            return content
        import numpy as np

        (size,) = self._broadcast(np.array([len(content)], np.int32))
        padded = np.zeros(-(-size // 4) * 4, np.uint8)
        if self.first:
            padded[:size] = np.frombuffer(content, np.uint8)
        return self._broadcast(padded.view(np.int32)).tobytes()[:size]

    def _broadcast(self, values: "np.ndarray") -> "np.ndarray":
        from mindspore import Tensor, ops

        broadcast: Any = ops.Broadcast(0)
        return broadcast((Tensor(values),))[0].asnumpy()

    @contextmanager
    def own_folder(self) -> Iterator[dict[str, str]]:
        """Settings that turn off logging on all ranks except the first, and give them a folder.

        Their files are the same as on rank 0; the folder is removed when the block ends.
        """
        if self.first:
            yield {}
            return
        with TemporaryDirectory(prefix=f"flag3d_exp-rank{self.rank}-") as folder:
            yield {
                "hydra.run.dir": str(Path(folder) / "run"),
                "tracking": "none",
                "hydra.job_logging.handlers.terminal.level": "WARNING",
            }


def _end_after_the_ranks(scheduler: int) -> None:
    """End the scheduler, if it has not ended by itself, after the last rank of this machine."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(scheduler).parent()
        seen = False
        while launcher is not None and os.getppid() == scheduler:
            ranks = [child for child in launcher.children() if _is_running_rank(child)]
            if seen and not ranks:
                time.sleep(PATIENCE)
                if os.getppid() == scheduler:
                    os.kill(scheduler, signal.SIGKILL)
            seen = seen or bool(ranks)
            time.sleep(1)


def _is_running_rank(process: "psutil.Process") -> bool:
    """Whether a process is a rank that has not ended."""
    import psutil

    try:
        return process.environ().get("MS_ROLE") == "MS_WORKER"
    except psutil.Error:  # it has ended, or is another user's
        return False
