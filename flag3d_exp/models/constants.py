"""Arrays of a network that the optimizer does not change, but that checkpoints hold."""

from collections.abc import Mapping

import numpy as np
from mindspore import Parameter, Tensor, nn, ops


def constant(value: np.ndarray, name: str) -> Parameter:
    """A parameter with this value, which is set by `set_constants`."""
    return Parameter(Tensor(value.astype(np.float32)), name=name, requires_grad=False)


def set_constants(cell: nn.Cell, values: Mapping[str, np.ndarray]) -> None:
    """Set constants of a cell, by the names of its attributes."""
    for name, value in values.items():
        ops.assign(getattr(cell, name), Tensor(value.astype(np.float32)))
