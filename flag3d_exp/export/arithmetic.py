"""Check that the graph of an exported file holds only arithmetic.

Both formats can hold more: numbers in other files, endless loops, functions that expand
exponentially, operations that run Python or load libraries. A file may come from anywhere, so all
of this is refused. Messages are read without their definitions, so their field numbers are listed
here.
"""

from collections.abc import Callable
from typing import TypeAlias, Union

from flag3d_exp.reading import Malformed
from flag3d_exp.reading.protobuf import Fields, as_bytes, as_text

Value: TypeAlias = int | memoryview
# The fields that a message may hold: field number -> check of its value, None for any value.
Rules: TypeAlias = dict[int, Union["Rules", Callable[[Value], None], None]]
MAX_DEPTH = 16
ONNX_OPERATIONS = (
    "Abs Add And BatchNormalization Cast Clip Concat ConstantOfShape Conv Cos Div Erf Exp Floor "
    "Gather Greater GreaterOrEqual Identity Less LessOrEqual MatMul Max MaxPool Min Mul Neg "
    "ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Shape Sigmoid Sign Sin Slice Softmax "
    "Sqrt Squeeze Sub Tile Transpose Unsqueeze Where"
)
MINDIR_OPERATIONS = (
    "Abs Add AddExt Adds AvgPool BatchMatMul BatchMatMulExt BatchNorm BiasAdd Cast ClampScalar "
    "Concat Conv2D Conv3D Cos Dense Depend Div Divs Elu Equal Erf Exp ExpandDims Eye Floor Gather "
    "GeLU Greater GreaterEqual GroupNorm HSwish Im2Col LayerNorm LayerNormExt Less LessEqual "
    "LessScalar Load Log LogicalAnd LogSoftmax make_list make_tuple MakeTuple MatMul MatMulExt "
    "Maximum MaxPool MaxPool3D MeanExt Minimum Mul Muls Neg NotEqual Ones OnesLike Pow PReLU "
    "ReduceMax ReduceMean ReduceMin ReduceSum ReLU ReLU6 Reshape Rsqrt ScalarAdd ScalarFloorDiv "
    "ScalarMul ScalarSub Select Shape Sigmoid SiLU Sin Slice Softmax Split Sqrt Square Squeeze "
    "Stack StridedSlice Sub SubExt Subs SumExt Tanh Tile Transpose Trunc TupleGetItem Unstack "
    "UpdateState Zeros ZerosLike"
)
# Accepted types of attributes in MindIR: undefined, numbers, texts, tensors and tuples of these,
# and marks of the order of side effects; not classes, name spaces, functions or primitives.
MINDIR_TYPES = (*range(13), 13, 17, 19, 20, 21, 23, 24, 25, 36, 39)


def check(suffix: str, model: memoryview) -> None:
    """Refuse a model that holds more than arithmetic.

    Args:
        suffix: of the format, .onnx or .mindir.

    Raises:
        Malformed: names the refused content.
    """
    _check(Fields(), model, MODELS[suffix], 0)


def _check(fields: Fields, message: memoryview, rules: Rules, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Malformed("it is nested too deeply")
    for number, value in fields.of(message):
        if number not in rules:
            raise Malformed(f"its graph is more than arithmetic (field {number})")
        rule = rules[number]
        if isinstance(rule, dict):
            _check(fields, as_bytes(value), rule, depth + 1)
        elif rule is not None:
            rule(value)


def _onnx_operation(value: Value) -> None:
    if (name := as_text(value)) not in ONNX_OPERATIONS.split():
        raise Malformed(f"its graph holds the operation {name!r}")


def _mindir_operation(value: Value) -> None:
    if (name := as_text(value)) not in MINDIR_OPERATIONS.split():
        raise Malformed(f"its graph holds the operation {name!r}")


def _mindir_node(value: Value) -> None:
    """Refuse a node that is neither a constant nor the name of one of the model's primitives."""
    if (name := as_text(value)) != "Constant" and not name.startswith("REF::"):
        raise Malformed(f"its graph holds the operation {name!r}")


def _mindir_type(value: Value) -> None:
    if value not in MINDIR_TYPES:
        raise Malformed("its graph holds a constant that is not a number")


def _own_domain(value: Value) -> None:
    if as_text(value) not in ("", "ai.onnx"):
        raise Malformed("its graph holds operations from outside ONNX")


def _any(*numbers: int) -> Rules:
    """Fields that may hold anything."""
    return dict.fromkeys(numbers)


# Not accepted: 13 of a tensor (its numbers are in another file); 5, 6, 10, 11 of an attribute
# (tensors and graphs); 25 of a model (functions).
ONNX_TENSOR = _any(*range(1, 13), 14)
ONNX_ATTRIBUTE = _any(1, 2, 3, 4, 7, 8, 9, 13, 20)
ONNX_NODE: Rules = {**_any(1, 2, 3, 6), 4: _onnx_operation, 5: ONNX_ATTRIBUTE, 7: _own_domain}
ONNX_GRAPH: Rules = {**_any(2, 10, 11, 12, 13), 1: ONNX_NODE, 5: ONNX_TENSOR}
# Not accepted: 12 of a tensor, as above; 7, 13, 19, 20 of an attribute (graphs and functions that
# make shapes); 8, 9, 11 of a model (functions, steps before its graph, settings of several
# machines).
MINDIR_TENSOR = _any(*range(1, 12), *range(13, 18))
MINDIR_ATTRIBUTE: Rules = _any(*range(1, 6), *range(8, 12), 18)
MINDIR_ATTRIBUTE |= {6: MINDIR_TENSOR, 12: MINDIR_TENSOR, 16: _mindir_type, 17: MINDIR_ATTRIBUTE}
MINDIR_NODE: Rules = {
    **_any(1, 2, 3, 6, 7),
    4: _mindir_node,
    **dict.fromkeys((5, 8, 9), MINDIR_ATTRIBUTE),
}
MINDIR_VALUE: Rules = {1: None, 2: MINDIR_TENSOR}
MINDIR_GRAPH: Rules = {
    **_any(2, 4, 7, 9),
    **{1: MINDIR_NODE, 3: MINDIR_TENSOR, 5: MINDIR_VALUE, 6: MINDIR_VALUE, 8: MINDIR_ATTRIBUTE},
}
MINDIR_PRIMITIVE: Rules = {**_any(1, 4, 5), 2: _mindir_operation, 3: MINDIR_ATTRIBUTE}
MODELS: dict[str, Rules] = {
    ".onnx": {**_any(*range(1, 7), 8, 14), 7: ONNX_GRAPH},
    ".mindir": {**_any(*range(1, 7), 10, 13, 14), 7: MINDIR_GRAPH, 12: MINDIR_PRIMITIVE},
}
