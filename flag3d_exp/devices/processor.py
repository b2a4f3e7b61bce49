"""The properties of this machine's processor that its speed depends on."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # of Linux
# Instruction sets that decide how fast matrix products are, of x86 and of ARM.
SETS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_fp16",
    "asimd",
    "sve",
    "sve2",
    "bf16",
)


@dataclass(frozen=True)
class Processor:
    """A processor.

    Args:
        name: as the processor reports it.
        num_cores: number of cores that this process may use.
        instruction_sets: those of `SETS` that the processor has.
    """

    name: str
    num_cores: int
    instruction_sets: tuple[str, ...]

    def __str__(self) -> str:
        sets = ", ".join(self.instruction_sets) or "no known instruction set for vectors"
        return f"{self.name}, {self.num_cores} cores, {sets}"


def processor() -> Processor:
    """The processor of this machine."""
    try:
        facts = parsed_entries(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:  # another operating system
        facts = {}
    name = facts.get("model name") or platform.processor() or platform.machine()
    known = (facts.get("flags") or facts.get("Features") or "").split()
    return Processor(name, num_cores(), tuple(one for one in SETS if one in known))


def num_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parsed_entries(text: str) -> dict[str, str]:
    """The entries of /proc/cpuinfo for the first processor."""
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}
