"""What a network is made of: layers, output shapes, parameters and multiply-adds for one clip."""

from dataclasses import dataclass

import numpy as np
from mindspore import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One cell: its name and class, the shape it puts out, and all that is in it.

    Args:
        num_parameters: trainable ones.
        multiply_adds: of its matrix products and convolutions.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    num_parameters: int
    multiply_adds: int


def layers(model: nn.Cell, clip_shape: tuple[int, ...], depth: int) -> list[Layer]:
    """The network itself (named ""), and its cells down to `depth` names deep, in order of use.

    Args:
        clip_shape: (N, M, T, V, C) of the keypoints put through the network.
    """
    model.set_train(False)
    cells = {name: cell for name, cell in model.cells_and_names() if name}
    shapes: dict[str, tuple[int, ...]] = {}
    work: dict[str, int] = {}
    hooks = [
        cell.register_forward_hook(_recorder(name, shapes, work)) for name, cell in cells.items()
    ]
    keypoints = np.random.default_rng(0).uniform(0, 32, clip_shape).astype(np.float32)
    output = model(Tensor(keypoints))
    for hook in hooks:
        hook.remove()
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
        "", type(model).__name__, tuple(output.shape), _num_parameters(model), sum(work.values())
    )
    return [whole, *found]


def _recorder(name: str, shapes: dict[str, tuple[int, ...]], work: dict[str, int]):
    def record(cell, inputs, output):
        shapes[name] = tuple(output.shape)
        if hasattr(cell, "multiply_adds"):
            work[name] = cell.multiply_adds(tuple(inputs[0].shape), tuple(output.shape))

    return record


def _order(name: str, shapes: dict[str, tuple[int, ...]]) -> int:
    """A cell ends after those in it; it is listed before them, where the first of them ends."""
    return next(
        (at for at, other in enumerate(shapes) if other == name or other.startswith(f"{name}.")), -1
    )


def _inside(name: str, work: dict[str, int]) -> int:
    return sum(n for other, n in work.items() if other == name or other.startswith(f"{name}."))


def _num_parameters(cell: nn.Cell) -> int:
    return sum(parameter.size for parameter in cell.trainable_params())
