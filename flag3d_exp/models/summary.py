"""Summary of a network: layers, output shapes, parameters and multiply-adds for one clip."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from mindspore import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """A cell: its name, class and output shape, and the totals of the cells within it.

    Args:
        num_parameters: number of trainable parameters.
        multiply_adds: of matrix products and convolutions in layers; None if a layer has weights
            whose use is unknown. Computations outside of layers, such as `ops.matmul` of two
            inputs, are counted only if the cell has a method `multiply_adds`.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    num_parameters: int
    multiply_adds: int | None


# MindSpore's own layers, by whether multiply-adds are per value of the input or of the output.
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.Conv1dTranspose, nn.Conv2dTranspose, nn.Conv3dTranspose)


def layers(model: nn.Cell, inputs: Iterable[np.ndarray], depth: int) -> list[Layer]:
    """The network (named ""), and its cells down to `depth` levels, in order of execution.

    Args:
        inputs: of the network, in the order of its arguments.
    """
    model.set_train(False)
    cells = {name: cell for name, cell in model.cells_and_names() if name}
    shapes: dict[str, tuple[int, ...]] = {}
    work: dict[str, int | None] = {}
    hooks = [
        cell.register_forward_hook(_recorder(name, shapes, work)) for name, cell in cells.items()
    ]
    output = model(*[Tensor(array) for array in inputs])
    for hook in hooks:
        hook.remove()
    counting = [name for name, cell in cells.items() if hasattr(cell, "multiply_adds")]
    for name in work:  # a cell's own count includes the weights within it
        if work[name] is None and name.startswith(tuple(f"{outer}." for outer in counting)):
            work[name] = 0
    found = [
        Layer(
            name,
            type(cell).__name__,
            shapes[name],
            _num_parameters(cell),
            _inside(name, work),
        )
        for name, cell in sorted(cells.items(), key=lambda item: _order(item[0], shapes))
        if name in shapes and name.count(".") < depth
    ]
    whole = Layer(
        "", type(model).__name__, tuple(output.shape), _num_parameters(model), _inside("", work)
    )
    return [whole, *found]


def _recorder(name: str, shapes: dict[str, tuple[int, ...]], work: dict[str, int | None]):
    def record(cell, inputs, output):
        first = output[0] if isinstance(output, tuple) else output
        shapes[name] = tuple(first.shape)
        work[name] = _multiply_adds(cell, tuple(inputs[0].shape), tuple(first.shape))

    return record


def _multiply_adds(cell: nn.Cell, x: tuple[int, ...], out: tuple[int, ...]) -> int | None:
    """Multiply-adds of the cell without its children; None if the use of its weights is unknown."""
    if hasattr(cell, "multiply_adds"):
        return cell.multiply_adds(x, out)
    weights = [p for p in cell.parameters_and_names(expand=False) if p[1].ndim > 1]
    if not weights or isinstance(cell, nn.Embedding):  # only scales and biases, no matrix products
        return 0
    if isinstance(cell, nn.Dense):
        return math.prod(out) * cell.in_channels
    if isinstance(cell, (*CONVOLUTIONS, *TRANSPOSED)):
        per_value = math.prod(cell.weight.shape[1:])  # (out or in, channels of a group, kernel ...)
        return math.prod(x if isinstance(cell, TRANSPOSED) else out) * per_value
    return None


def _order(name: str, shapes: dict[str, tuple[int, ...]]) -> int:
    """Sort key: a cell is recorded after its children, but is listed before the first of them."""
    return next(
        (at for at, other in enumerate(shapes) if other == name or other.startswith(f"{name}.")), -1
    )


def _inside(name: str, work: dict[str, int | None]) -> int | None:
    found = [
        n for other, n in work.items() if not name or other == name or other.startswith(f"{name}.")
    ]
    return None if None in found else sum(n for n in found if n is not None)


def _num_parameters(cell: nn.Cell) -> int:
    return sum(parameter.size for parameter in cell.trainable_params())
