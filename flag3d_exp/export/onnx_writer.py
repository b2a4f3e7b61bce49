"""A writer of ONNX graphs: nodes, constants, names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Size:
    """A size that is known only at run time: the name of an int64 tensor of one element."""

    tensor: str


@dataclass(frozen=True)
class AllSizes:
    """All sizes of the tensor with this name."""

    tensor: str


class Writer:
    """Nodes and constants in the order of use."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._known: dict[tuple, str] = {}

    def add(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """Write a node with one result; return the result's name.

        Args:
            inputs: names of tensors, arrays, and numbers and sizes, which become float32.
        """
        output = f"{kind}_{len(self.nodes)}"
        names = [self.tensor(value) for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [output], output, **attributes))
        return output

    def tensor(self, value: Any) -> str:
        """The name of a tensor; a constant is added to the graph first."""
        if isinstance(value, str):
            return value
        if isinstance(value, np.ndarray):
            return self.constant(value)
        if isinstance(value, Size):
            return self.add("Cast", value.tensor, to=TensorProto.FLOAT)
        return self.constant(np.array(value, np.float32))

    def sizes(self, values: Sequence[int | Size]) -> str:
        """The name of an int64 vector."""
        if not any(isinstance(value, Size) for value in values):
            return self.constant(np.array(values, np.int64))
        parts = [v.tensor if isinstance(v, Size) else self.sizes([v]) for v in values]
        return self.add("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        """The name of a constant; equal constants are stored once."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if name is None:
            name = self._known.setdefault(key, f"constant_{len(self._known)}")
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(array, name)
        return name
