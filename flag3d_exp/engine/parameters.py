"""Parameters of a model or an optimizer as plain arrays, and back."""

from collections.abc import Iterable, Mapping

import numpy as np
from mindspore import Parameter, Tensor, ops

from flag3d_exp.engine.checkpoint import Arrays
from flag3d_exp.errors import UserError


def parameter_values(parameters: Iterable[Parameter]) -> Arrays:
    """A copy of each parameter, by name."""
    return {p.name: p.asnumpy().copy() for p in parameters}


def assign_parameters(parameters: Iterable[Parameter], values: Mapping[str, np.ndarray]) -> None:
    """Set every parameter from `values`, whose names and shapes must match one to one.

    Uses `ops.assign`, the only way that also reaches functions that are already compiled.

    Raises:
        UserError: a name is missing or left over, or a shape differs; then nothing is changed.
    """
    known = {p.name: p for p in parameters}
    missing = sorted(known.keys() - values.keys())
    extra = sorted(values.keys() - known.keys())
    wrong = [
        f"{name} {values[name].shape} instead of {tuple(p.shape)}"
        for name, p in known.items()
        if name in values and values[name].shape != tuple(p.shape)
    ]
    if missing or extra or wrong:
        raise UserError(
            "The weights do not fit the model: "
            + "; ".join(
                f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
                for kind, names in (("missing", missing), ("unknown", extra), ("misshapen", wrong))
                if names
            )
            + ". Is it the same `model`, `dataset` and `pipeline`?"
        )
    for name, parameter in known.items():
        ops.assign(parameter, Tensor(values[name], parameter.dtype))
