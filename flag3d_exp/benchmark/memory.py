"""The memory of a contender's process."""

import resource


def peak_memory() -> int:
    """The most bytes of the machine's memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
