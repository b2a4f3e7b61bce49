"""What runs where: picking the device and telling MindSpore what it must know of it."""

import os
import platform
from dataclasses import dataclass
from typing import Literal

from flag3d_exp.errors import UserError

NAMES = {"ascend": "Ascend", "gpu": "GPU", "cpu": "CPU"}
MISSING = {
    "ascend": "no Ascend NPU answers (is its driver installed, does `npu-smi info` list it?)",
    "gpu": "no CUDA GPU answers (MindSpore 2.10 needs a driver, CUDA 11.6 and cuDNN 8)",
    "cpu": "this MindSpore has no CPU backend",
}


@dataclass(frozen=True)
class Device:
    """Settings of the `device` group.

    Args:
        target: where to run; `auto` takes Ascend, then GPU, then CPU.
        id: which accelerator, as the driver counts them.
        jit: compile the steps with `ms.jit`; `auto` leaves it to the task.
        deterministic: ask MindSpore for bitwise repeatable kernels.
        verbose: let MindSpore log its warnings; `set_environment` must be told before the import.
    """

    target: Literal["auto", "cpu", "gpu", "ascend"] = "auto"
    id: int = 0
    jit: bool | Literal["auto"] = "auto"
    deterministic: bool = False
    verbose: bool = False

    def activate(self) -> str:
        """Import MindSpore, select the device and return its name (`CPU`, `GPU` or `Ascend`).

        Raises:
            UserError: the device asked for is not there.
        """
        import mindspore as ms

        available = [name for name in NAMES if name == "cpu" or ms.hal.is_available(NAMES[name])]
        target = available[0] if self.target == "auto" else self.target
        if target not in available:
            raise UserError(
                f"`device={target}`: {MISSING[target]}. "
                f"Here there is: {', '.join(f'device={name}' for name in available)}."
            )
        if target == "cpu":
            ms.set_device("CPU")
            # MindSpore's kernel threads compete with OpenMP's; one dispatcher is fastest.
            ms.set_context(runtime_num_threads=1)
        else:
            try:
                ms.set_device(NAMES[target], self.id)
            except (RuntimeError, ValueError) as error:
                count = ms.hal.device_count(NAMES[target])
                raise UserError(
                    f"`device.id={self.id}`: this machine has {count} {NAMES[target]} device(s), "
                    f"numbered from 0 ({error})."
                ) from error
        if self.deterministic:
            ms.set_deterministic(True)
        return NAMES[target]


def set_environment(verbose: bool = False) -> None:
    """Set the variables that MindSpore reads once, when it is imported."""
    os.environ.setdefault("GLOG_v", "2" if verbose else "3")
    # Where a convolution kernel is used on CPU, oneDNN's AVX-512 choice is a slow reference kernel.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    # The compile cache gives wrong numbers on CPU.
    os.environ["MS_COMPILER_CACHE_ENABLE"] = "0"


def description(name: str) -> str:
    """The device in words: its name and, on CPU, the processor and its cores."""
    if name != "CPU":
        return name
    return f"CPU ({os.cpu_count()} cores, {platform.machine()})"
