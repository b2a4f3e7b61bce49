"""How a device computes the layers: one module of pure functions for each way.

`native` calls the device's own kernels. `cpu` writes convolutions, means and broadcasts as matrix
products, which MindSpore's CPU kernels compute several times faster. Both modules have the same
functions; a cell takes those it needs when it is made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import mindspore as ms

from flag3d_exp.models.kernels import cpu, native

_chosen: ContextVar[ModuleType | None] = ContextVar("kernels", default=None)


def kernels() -> ModuleType:
    """The functions for layers made now: `cpu` on a CPU, `native` elsewhere."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    return cpu if ms.get_context("device_target") == "CPU" else native


@contextmanager
def using(table: ModuleType) -> Iterator[None]:
    """Make layers with these functions inside the block, whatever the device is."""
    token = _chosen.set(table)
    try:
        yield
    finally:
        _chosen.reset(token)
