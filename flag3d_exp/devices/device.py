"""Selection of the device, and MindSpore's settings for it."""

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal

from flag3d_exp import bounds
from flag3d_exp.devices import ascend as ascend_setup
from flag3d_exp.devices import cuda
from flag3d_exp.devices.processor import processor
from flag3d_exp.devices.ranks import Ranks
from flag3d_exp.errors import UserError

if TYPE_CHECKING:
    from mindspore import nn

NAMES = {"ascend": "Ascend", "gpu": "GPU", "cpu": "CPU"}
MISSING = {
    "ascend": "no Ascend NPU answers (is its driver installed, does `npu-smi info` list it?)",
    "gpu": "no CUDA GPU answers (is its driver installed, does `nvidia-smi` list it? "
    '`pip install "flag3d-exp[gpu]"` brings the CUDA 11 libraries that MindSpore needs)',
    "cpu": "this MindSpore has no CPU backend",
}


# Compiling a network takes about as long as it saves in this number of forward passes.
WORTH_COMPILING = 32


@dataclass(frozen=True)
class Device:
    """Settings of the `device` group.

    Args:
        target: the kind of device; `auto` tries Ascend, then GPU, then CPU.
        id: number of the accelerator in the driver's order; under msrun each rank takes its own.
        jit: compile the steps with `ms.jit`; `auto`: if compiling saves time, as in training.
        jit_level: how far MindSpore fuses compiled operations; None for the device's default.
        precision: of matrix products and convolutions; weights, losses and norms stay float32.
            With fp16 the loss is scaled. bf16 needs Ascend.
        tf32: let float32 products drop mantissa bits (HF32 on Ascend, TF32 on GPU, bfloat16 on a
            CPU with AMX, for which `set_environment` needs it too).
        memory_gb: largest memory of an accelerator to use; None for all of it.
        deterministic: ask MindSpore for bitwise repeatable kernels.
        verbose: let MindSpore log its warnings; to be passed to `set_environment` before MindSpore
            is imported.
    """

    target: Literal["auto", "cpu", "gpu", "ascend"] = "auto"
    id: Annotated[int, ">= 0"] = 0
    jit: bool | Literal["auto"] = "auto"
    jit_level: Literal["O0", "O1"] | None = None
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    tf32: bool = False
    memory_gb: Annotated[float, "> 0"] | None = None
    deterministic: bool = False
    verbose: bool = False

    def __post_init__(self) -> None:
        bounds.check(self, "device")
        if self.target in ("cpu", "gpu") and self.precision == "bf16":
            raise UserError(
                f"`device.precision=bf16` is for Ascend; `device={self.target}` has fp32 and fp16."
            )
        if self.target == "cpu":
            self._check_number_of_cpu()

    def compiles(self, num_passes: int | None = None) -> bool:
        """Whether to compile a function that is called `num_passes` times; None: a training run."""
        if self.jit == "auto":
            return num_passes is None or num_passes >= WORTH_COMPILING
        return self.jit

    def check_driver(self) -> None:
        """Refuse a device whose driver is not there; this needs no import of MindSpore.

        Raises:
            UserError: names the devices that may be there.
        """
        there = {"cpu": True, "gpu": cuda.has_driver(), "ascend": ascend_setup.has_driver()}
        if self.target != "auto" and not there[self.target]:
            raise _absence(self.target, [name for name in NAMES if there[name]])

    def activate(self) -> str:
        """Import MindSpore, select the device and return its name (`CPU`, `GPU` or `Ascend`).

        Raises:
            UserError: the requested device is not available.
        """
        import mindspore as ms
        from mindspore.device_context import ascend, gpu

        available = [name for name in NAMES if name == "cpu" or ms.hal.is_available(NAMES[name])]
        target = available[0] if self.target == "auto" else self.target
        if target not in available:
            raise _absence(target, available)
        if target != "ascend" and self.precision == "bf16":
            raise UserError(
                f"`device.precision=bf16` is for Ascend; `device={target}` has fp32 and fp16."
            )
        self._select(NAMES[target])
        if self.deterministic:
            ms.set_deterministic(True)
        if self.jit_level is not None:
            ms.set_context(jit_config={"jit_level": self.jit_level})
        if target == "cpu":
            _widen_memory_pool()
        elif self.memory_gb is not None:
            _limit_memory(self.memory_gb)
        if target == "ascend":
            ascend.op_precision.matmul_allow_hf32(self.tf32)
            ascend.op_precision.conv_allow_hf32(self.tf32)
        elif target == "gpu":
            gpu.op_precision.matmul_allow_tf32(self.tf32)
            gpu.op_precision.conv_allow_tf32(self.tf32)
        return NAMES[target]

    def _check_number_of_cpu(self) -> None:
        if self.id != 0:
            raise UserError(f"`device.id` must be 0 on a CPU, which is one device; got {self.id}.")

    def _select(self, name: str) -> None:
        import mindspore as ms

        world = Ranks.here().world
        if name == "CPU":
            self._check_number_of_cpu()
            # Otherwise MindSpore waits for a compiled function in a busy-wait loop, which takes a
            # core from the kernels. It reads this setting at the first operation.
            os.environ["MS_DEV_HOST_BLOCKING_RUN"] = "1"
            try:
                ms.set_device(name)
            except RuntimeError as error:  # MindSpore has already computed in this process
                if (used := ms.get_context("device_target")) != name:
                    raise UserError(
                        f"`device=cpu`: this process computes on {used} already; start a new one."
                    ) from error
                return
            # MindSpore's kernel threads compete with OpenMP's; one dispatcher thread is fastest.
            ms.set_context(runtime_num_threads=1)
        elif world > 1:  # MindSpore assigns the devices
            ms.set_device(name)
        else:
            try:
                ms.set_device(name, self.id)
            except (RuntimeError, ValueError) as error:
                count = ms.hal.device_count(name)
                raise UserError(
                    f"`device.id={self.id}`: this machine has {count} {name} device(s), "
                    f"numbered from 0 ({error})."
                ) from error
        if world > 1:
            from mindspore.communication import init

            init()

    def lowered_model(self, model: "nn.Cell") -> "nn.Cell":
        """The model with its matrix products and convolutions in `precision`."""
        if self.precision == "fp32":
            return model
        import mindspore as ms

        kind = {"fp16": ms.float16, "bf16": ms.bfloat16}[self.precision]
        return ms.amp.auto_mixed_precision(model, "auto", kind)


def _absence(target: str, available: list[str]) -> UserError:
    """The error for a device that is not there."""
    reason = MISSING[target]
    if target == "ascend" and (found := ascend_setup.missing(os.environ)):
        reason = "; ".join(found)
    return UserError(
        f"`device={target}`: {reason}. "
        f"Here there is: {', '.join(f'device={name}' for name in available)}."
    )


@cache
def _limit_memory(gb: float) -> None:
    import mindspore as ms

    try:
        ms.runtime.set_memory(max_size=f"{gb}GB")
    except RuntimeError as error:
        raise UserError(
            f"`device.memory_gb={gb}`: this process has another limit already, and MindSpore takes "
            "one per process; start a new one."
        ) from error


@cache
def _widen_memory_pool() -> None:
    """Reserve address space of the size of the machine's memory for MindSpore's pool.

    Otherwise the pool grows by 1 GB at a time, and large arrays fragment each block. Linux provides
    only the pages that are written to.
    """
    import mindspore as ms

    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(RuntimeError):  # a program that uses this package has already set the size
        ms.runtime.set_memory(init_size=f"{size / 2**30:.1f}GB")


def has_amx() -> bool:
    """Whether this processor has AMX, with which oneDNN multiplies bfloat16 several times as fast
    as float32. Without it, its products in bfloat16 are hardly faster."""
    return "amx_bf16" in processor().instruction_sets


def set_environment(target: str = "cpu", verbose: bool = False, tf32: bool = False) -> None:
    """Set the environment variables that MindSpore reads once, at its import."""
    if target in ("auto", "gpu"):
        cuda.prepare()
    os.environ.setdefault("GLOG_v", "2" if verbose else "4")
    # The compile cache gives wrong results on CPU.
    os.environ["MS_COMPILER_CACHE_ENABLE"] = "0"
    # Set in either case, so that results depend on the configuration alone.
    rounds = tf32 and has_amx()
    os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] = "BF16" if rounds else "STRICT"


def description(name: str, tf32: bool = False) -> str:
    """The device in words: its name, on CPU the number and type of cores, and the ranks.

    Args:
        tf32: the setting of the device.
    """
    if name == "CPU":
        products = ""
        if tf32:
            products = ", products in bfloat16" if has_amx() else ", no AMX for device.tf32"
        name = f"CPU ({os.cpu_count()} cores, {platform.machine()}{products})"
    elif tf32:
        name = f"{name}, products in {'HF32' if name == 'Ascend' else 'TF32'}"
    world = Ranks.here().world
    return name if world == 1 else f"{world} ranks on {name}"
