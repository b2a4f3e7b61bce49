"""The main loop of grids and studies: keep the slots filled with jobs until all work is done."""

import logging
import time
from typing import Protocol

import psutil

from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.sweep.job import Job

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
LOOK_SECONDS = 1.0  # between two checks for stuck jobs and of a study's storage


class Work(Protocol):
    """The interface of a grid or a study to the loop."""

    def look(self, jobs: list[Job]) -> None:
        """Check the work; called every second and when a job has ended, before slots are filled."""
        ...

    def start(self, slot: int) -> Job | None:
        """Start the next job; return None if there is none now."""
        ...

    def settle(self, job: Job, stopping: bool, /) -> None:
        """Record how a job ended."""
        ...

    def show(self, jobs: list[Job]) -> None:
        """Publish the current state; called after slots were filled."""
        ...

    def is_halted(self) -> bool:
        """Whether no further job may be started."""
        ...

    def done(self) -> bool:
        """Whether nothing is left to start or to wait for, apart from jobs of this process."""
        ...

    def launched_process(self, job: Job, /) -> psutil.Process | None:
        """The process on this host that a launcher started for the job."""
        ...


def fill(work: Work, num_slots: int, grace: float, stop: StopRequest) -> None:
    """Run the work's jobs, at most `num_slots` at once.

    Each slot is refilled as soon as it is free, without waiting for the slowest job. A first signal
    asks the jobs to save their state and stop; a second signal kills them.

    Args:
        grace: seconds after which a job that is suspended, or was asked to stop, is killed.
    """
    jobs: list[Job] = []
    looked = 0.0
    asked = False
    while True:
        ended = [job for job in jobs if job.returncode() is not None]
        for job in ended:
            jobs.remove(job)
            work.settle(job, bool(stop.signum))
        if stop.signum and not asked:
            asked = True
            log.info("stopping %d jobs; they save their state first", len(jobs))
            for job in jobs:
                job.stop(work.launched_process(job))
        if stop.num_signals > 1:
            for job in jobs:
                job.end("was ended by a second signal to the sweep", work.launched_process(job))
        if ended or time.monotonic() - looked >= LOOK_SECONDS:
            looked = time.monotonic()
            for job in jobs:
                job.end_if_stuck(grace, work.launched_process(job))
            work.look(jobs)
            busy = {job.slot for job in jobs}
            for slot in sorted(set(range(num_slots)) - busy):
                if stop.signum or work.is_halted():
                    break
                job = work.start(slot)
                if job is None:
                    break
                jobs.append(job)
            work.show(jobs)
            if not jobs and (stop.signum or work.is_halted() or work.done()):
                return
        time.sleep(TICK_SECONDS)
