"""The compiled step of the last run in this process, for a further run with the same graph.

Compiling a network takes longer than a short training of it. What a compiled step has as constants
must be the same in both runs; parameters are replaced, so that a run gets the same numbers as in a
new process.
"""

import gc
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn

from flag3d_exp.engine.predict import Predictor
from flag3d_exp.engine.step import TrainStep

log = logging.getLogger(__name__)
UNRELATED = ("instance_key",)  # attributes of MindSpore's that differ between equal cells


@dataclass
class Compiled:
    """A step whose functions are compiled at its first use, and the predictor of its model."""

    key: str
    step: TrainStep
    predict: Predictor


_last: Compiled | None = None


def compiled_parts(settings: Any, step: TrainStep) -> Compiled:
    """The last run's step and predictor with the values of `step`, or those of `step` itself.

    Args:
        settings: JSON values that the graph depends on, apart from those of the optimizer, the
            model's constants and the criterion's.
    """
    global _last
    key = graph_key(settings, step)
    if _last is not None and _last.key == key:
        _last.step.take_over(step)
        log.debug("the compiled step of the last run is used again")
        return _last
    _last = None
    gc.collect()  # frees the graphs, which have cycles
    _last = Compiled(key, step, Predictor(step.model, step.settings.jit))
    return _last


def graph_key(settings: Any, step: TrainStep) -> str:
    """A digest of everything that the compiled step and predictor have as constants."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    own = getattr(step.optimizer, "constants", ())
    digest.update(repr((type(step.optimizer), own, step.settings)).encode())
    for cell in (step.model, step.criterion):
        if isinstance(cell, nn.Cell):
            for name, content in _constants(cell):
                digest.update(name.encode() + content)
    for parameter in step.model.get_parameters():
        digest.update(f"{parameter.name} {parameter.shape} {parameter.requires_grad}".encode())
    return digest.hexdigest()


def _constants(cell: nn.Cell) -> Iterator[tuple[str, bytes]]:
    """Name and content of the plain attributes and arrays of a cell and its children."""
    for place, part in cell.cells_and_names():
        yield place, type(part).__qualname__.encode()
        for name, value in sorted(vars(part).items()):
            if not name.startswith("_") and name not in UNRELATED:
                for content in _contents(value):
                    yield f"{place}.{name}", content


def _contents(value: Any) -> Iterator[bytes]:
    """The content of a plain value or an array, or of those in a container; not of parameters."""
    match value:
        case Parameter():
            return
        case Tensor():
            yield from _contents(value.asnumpy())
        case np.ndarray():
            yield f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes()
        case None | bool() | int() | float() | str():
            yield repr(value).encode()
        case list() | tuple():
            for part in value:
                yield from _contents(part)
        case dict():
            for key, part in value.items():
                yield repr(key).encode()
                yield from _contents(part)
