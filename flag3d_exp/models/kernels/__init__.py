"""Implementations of the layers for different devices, as modules of pure functions.

`native` calls the device's own kernels. `cpu` computes convolutions, means and broadcasts as matrix
products, which are several times faster than MindSpore's CPU kernels. `onednn` has compiled
convolutions and norms, which are twice as fast as that. The modules have the same functions; a cell
selects its functions when it is created.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import mindspore as ms

from flag3d_exp.models.kernels import cpu, library, native

_chosen: ContextVar[ModuleType | None] = ContextVar("kernels", default=None)


def kernels() -> ModuleType:
    """The functions for new layers: `onednn` or else `cpu` on a CPU, `native` on other devices."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    if ms.get_context("device_target") != "CPU":
        return native
    if not library.is_open():
        return cpu
    from flag3d_exp.models.kernels import onednn

    return onednn


@contextmanager
def using(table: ModuleType) -> Iterator[None]:
    """Context manager: layers created in the block use these functions on any device."""
    token = _chosen.set(table)
    try:
        yield
    finally:
        _chosen.reset(token)
