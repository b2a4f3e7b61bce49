"""A network's graph in MindIR, MindSpore's exchange format, for batches of any size.

MindIR is a protobuf message of operations in the order of use; each names its input and output
values. Sizes: N clips, M persons, T frames, V joints, C channels, K classes.
"""

# MindIR's message classes are made at import, so a type checker does not know their attributes.
# pyright: reportAttributeAccessIssue=false

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from flag3d_exp.errors import UserError
from flag3d_exp.mindspore_adapter import AttributeProto, GraphProto, ModelProto, TensorProto

Shape = tuple[int, ...]  # -1: known only at run time
NUMPY_TYPES = {
    TensorProto.FLOAT: np.float32,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.BOOL: np.bool_,
}


@dataclass(frozen=True)
class Operation:
    """One use of a MindSpore primitive.

    Args:
        inputs, output: names of values.
        shapes: of the inputs, then of the output; () for a value that is not a tensor.
    """

    kind: str
    attributes: dict[str, Any]
    inputs: tuple[str, ...]
    output: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Graph:
    """The computation from clips (N, M, T, V, C) to logits (N, K).

    Args:
        parameters, constants: by name.
        operations: in the order of use.
    """

    input: str
    output: str
    parameters: dict[str, np.ndarray]
    constants: dict[str, Any]
    operations: tuple[Operation, ...]


def compiled_network(model: nn.Cell, clip_shape: Shape) -> ModelProto:
    """The compiled network in evaluation mode, for any number of clips (M, T, V, C).

    Raises:
        UserError: MindSpore cannot compile it for an unknown number of clips.
    """
    model.set_train(False)
    clips = Tensor(shape=[None, *clip_shape], dtype=ms.float32)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "network.mindir")
        try:
            ms.export(model, clips, file_name=str(file), file_format="MINDIR")
        except Exception as error:  # the compiler may raise any type
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"{type(model).__name__} cannot be compiled for batches of any size: {reason}"
            ) from error
        return ModelProto.FromString(file.read_bytes())


def graph_of(model: ModelProto) -> Graph:
    """The operations of a compiled network as Python objects.

    Raises:
        UserError: the operations are not one sequence, but have branches.
    """
    graph = model.graph
    if model.functions:
        raise UserError("the network branches on sizes that are known only at run time.")
    primitives = {f"REF::{one.name}": one for one in model.primitives}
    parameters = {one.name: _array(one) for one in graph.parameter}
    constants: dict[str, Any] = {}
    shapes = _input_shapes(graph)
    operations = []
    for node in graph.node:
        (output,) = node.output
        described = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant":
            constants[output] = _value(described["value"])
            continue
        primitive = primitives[node.op_type]
        if "shape" in described:
            shapes[output] = _shape(described["shape"])
        operations.append(
            Operation(
                primitive.op_type,
                {attribute.name: _value(attribute) for attribute in primitive.attribute},
                tuple(node.input),
                output,
                tuple(shapes.get(name, ()) for name in (*node.input, output)),
            )
        )
    return Graph(
        graph.input[0].name, graph.output[0].name, parameters, constants, tuple(operations)
    )


def function(path: Path, clip_shape: Shape) -> Callable[[np.ndarray], np.ndarray]:
    """clips (N, M, T, V, C) -> logits (N, K), as the file's graph computes them.

    Raises:
        UserError: MindSpore cannot load it.
    """
    try:
        network: Any = nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError) as error:
        raise UserError(f"`{path}`: MindSpore cannot load it.") from error
    # Without this, MindSpore 2.10 keeps the sizes of the first batch and computes later ones wrong.
    network.set_inputs(Tensor(shape=[None, *clip_shape], dtype=ms.float32))

    def logits(clips: np.ndarray) -> np.ndarray:
        return network(Tensor(clips)).asnumpy()

    return logits


def with_facts(facts: dict[str, str]) -> bytes:
    """The bytes to append to a MindIR file, so that it contains these texts."""
    return ModelProto(user_info=facts).SerializeToString()


def _input_shapes(graph: GraphProto) -> dict[str, Shape]:
    tensors = [(one.name, one) for one in graph.parameter]
    tensors += [(one.name, one.tensor[0]) for one in graph.input]
    return {name: tuple(tensor.dims) for name, tensor in tensors}


def _shape(attribute: AttributeProto) -> Shape:
    return tuple(attribute.tensors[0].dims) if attribute.tensors else ()


def _value(attribute: AttributeProto) -> Any:
    """A constant: number, text, tuple, array, or None."""
    kinds = AttributeProto
    match attribute.type:
        case kinds.TUPLE | kinds.LIST:
            return tuple(_value(value) for value in attribute.values)
        case kinds.TENSORS:
            return _array(attribute.tensors[0])
        case kinds.BOOL:
            return bool(_only(attribute.ints, attribute.i))
        case kinds.FLOAT:
            return _only(attribute.floats, attribute.f)
        case kinds.DOUBLE:
            return _only(attribute.doubles, attribute.d)
        case kinds.STRING:
            return _only(attribute.strings, attribute.s).decode()
        case kinds.INT32 | kinds.INT64:
            return _only(attribute.ints, attribute.i)
        case _:  # no value, or a mark of the order of side effects
            return None


def _only(several: Any, one: Any) -> Any:
    """The value of a number, which has another field when it is an element of a tuple."""
    return several[0] if several else one


def _array(tensor: TensorProto) -> np.ndarray:
    kind = NUMPY_TYPES.get(tensor.data_type)
    if kind is None:
        raise UserError(f"the network holds numbers of a type that is not exported: {tensor.name}.")
    return np.frombuffer(tensor.raw_data, kind).reshape(tuple(tensor.dims))
