"""Translation of MindSpore's primitives to ONNX.

Each function writes the nodes of one primitive and returns its result. Its arguments are the
writer, the operation, and the operation's inputs: names of ONNX tensors or, if they are constant,
arrays, numbers and tuples of these.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from flag3d_exp.errors import UserError
from flag3d_exp.export.mindir import Operation
from flag3d_exp.export.onnx_shapes import SHAPES
from flag3d_exp.export.onnx_writer import Writer

FLOAT32 = 43  # MindSpore's number of this type

SAME_MEANING = {
    "Add": "Add",
    "Cos": "Cos",
    "Div": "Div",
    "Divs": "Div",
    "Erf": "Erf",
    "Exp": "Exp",
    "Greater": "Greater",
    "GreaterEqual": "GreaterOrEqual",
    "LessEqual": "LessOrEqual",
    "LessScalar": "Less",
    "LogicalAnd": "And",
    "MatMulExt": "MatMul",
    "Maximum": "Max",
    "Minimum": "Min",
    "Mul": "Mul",
    "Muls": "Mul",
    "Neg": "Neg",
    "ReLU": "Relu",
    "Select": "Where",
    "Sigmoid": "Sigmoid",
    "Sin": "Sin",
    "Sqrt": "Sqrt",
    "Sub": "Sub",
}


def translate(writer: Writer, operation: Operation, inputs: Sequence[Any]) -> Any:
    """Write the nodes of an operation; return its result.

    Raises:
        UserError: there is no rule for the operation.
    """
    if operation.kind in SAME_MEANING:
        return writer.add(SAME_MEANING[operation.kind], *inputs)
    if operation.kind not in RULES:
        raise UserError(
            f"`task.format=onnx`: there is no translation of MindSpore's `{operation.kind}`."
        )
    return RULES[operation.kind](writer, operation, *inputs)


def first(_writer: Writer, _operation: Operation, value: Any, *_order: Any) -> Any:
    """The first input: a parameter that is read, or a value with a mark of order."""
    return value


def nothing(_writer: Writer, _operation: Operation, *_order: Any) -> None:
    """Nothing: an order of side effects, and the network has none."""


def cast(writer: Writer, _operation: Operation, x: Any, kind: int) -> str:
    """`x` as float32, the only type that networks cast to."""
    if kind != FLOAT32:
        raise UserError("`task.format=onnx`: only casts to float32 are translated.")
    return writer.add("Cast", x, to=onnx.TensorProto.FLOAT)


def square(writer: Writer, _operation: Operation, x: Any) -> str:
    """The square of each number."""
    return writer.add("Mul", x, x)


def trunc(writer: Writer, _operation: Operation, x: Any) -> str:
    """Each number without its fraction: the sign times the floor of the absolute value."""
    whole = writer.add("Floor", writer.add("Abs", x))
    return writer.add("Mul", writer.add("Sign", x), whole)


def clamp(writer: Writer, _operation: Operation, x: Any, low: float, high: float) -> str:
    """Each number, limited to at least `low` and at most `high`."""
    return writer.add("Clip", x, low, high)


def softmax(writer: Writer, _operation: Operation, x: Any, axes: Sequence[int]) -> str:
    """Softmax along the one axis."""
    (axis,) = axes
    return writer.add("Softmax", x, axis=axis)


def mean(
    writer: Writer, _operation: Operation, x: Any, axes: Sequence[int], keep_dims: bool, *_: Any
) -> str:
    """The mean over the axes."""
    return writer.add("ReduceMean", x, axes=list(axes), keepdims=int(keep_dims))


def largest(
    writer: Writer, _operation: Operation, x: Any, axes: Sequence[int] | int, keep_dims: bool
) -> str:
    """The largest number along the axes."""
    return writer.add("ReduceMax", x, axes=axes_list(axes), keepdims=int(keep_dims))


def least(
    writer: Writer, _operation: Operation, x: Any, axes: Sequence[int] | int, keep_dims: bool
) -> str:
    """The smallest number along the axes."""
    return writer.add("ReduceMin", x, axes=axes_list(axes), keepdims=int(keep_dims))


def axes_list(axes: Sequence[int] | int) -> list[int]:
    """A list of axes; a single axis may be a plain number."""
    return [axes] if isinstance(axes, int) else list(axes)


def total(
    writer: Writer, _operation: Operation, x: Any, axes: Sequence[int], keep_dims: bool, *_: Any
) -> str:
    """The sum over the axes."""
    return writer.add("ReduceSum", x, writer.sizes(axes), keepdims=int(keep_dims))


def batch_matmul(
    writer: Writer, operation: Operation, x: Any, y: Any, turn_x: bool, turn_y: bool
) -> str:
    """Matrix products over the last two axes; each factor may be transposed first."""
    axes = list(range(len(operation.shapes[-1])))
    axes[-2:] = reversed(axes[-2:])
    x = writer.add("Transpose", x, perm=axes) if turn_x else x
    y = writer.add("Transpose", y, perm=axes) if turn_y else y
    return writer.add("MatMul", x, y)


def batch_norm(
    writer: Writer,
    _operation: Operation,
    x: Any,
    scale: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    training: bool,
    epsilon: float,
    *_: Any,
) -> tuple[str]:
    """Batch norm; of the primitive's five results only the first is used in evaluation mode."""
    if training:
        raise UserError("`task.format=onnx`: a batch norm is in training mode.")
    tensors = (x, scale, bias, mean, variance)
    return (writer.add("BatchNormalization", *tensors, epsilon=epsilon),)


def layer_norm(
    writer: Writer,
    _operation: Operation,
    x: Any,
    scale: Any,
    bias: Any,
    _norm_axis: int,
    _scale_axis: int,
    epsilon: float,
) -> tuple[str]:
    """Layer norm over the last axis; of the primitive's three results only the first is used."""
    centred = writer.add("Sub", x, writer.add("ReduceMean", x, axes=[-1], keepdims=1))
    squares = writer.add("Mul", centred, centred)
    variance = writer.add("ReduceMean", squares, axes=[-1], keepdims=1)
    deviation = writer.add("Sqrt", writer.add("Add", variance, epsilon))
    normed = writer.add("Div", centred, deviation)
    return (writer.add("Add", writer.add("Mul", normed, scale), bias),)


def bias_add(writer: Writer, operation: Operation, x: Any, bias: Any, _format: Any) -> str:
    """`x` plus one number per channel."""
    spread = [-1, *[1] * (len(operation.shapes[-1]) - 2)]
    return writer.add("Add", x, writer.add("Reshape", bias, writer.sizes(spread)))


def conv2d(writer: Writer, operation: Operation, x: Any, weight: Any) -> str:
    """A convolution. MindSpore pads top, bottom, left, right; ONNX top, left, bottom, right."""
    settings = operation.attributes
    if settings["pad_mode"].lower() != "pad":
        raise UserError("`task.format=onnx`: convolutions must have explicit padding.")
    top, bottom, left, right = settings["pad_list"]
    return writer.add(
        "Conv",
        x,
        weight,
        pads=[top, left, bottom, right],
        strides=list(settings["stride"][-2:]),
        dilations=list(settings["dilation"][-2:]),
        group=settings["group"],
    )


def max_pool(writer: Writer, operation: Operation, x: Any) -> str:
    """The maximum under the kernel; padding is `SAME` or none."""
    settings = operation.attributes
    same = settings["pad_mode"].upper() == "SAME"
    return writer.add(
        "MaxPool",
        x,
        auto_pad="SAME_UPPER" if same else "VALID",
        kernel_shape=list(settings["kernel_size"][-2:]),
        strides=list(settings["strides"][-2:]),
    )


def im2col(writer: Writer, operation: Operation, x: Any) -> str:
    """(N, C, H, W) -> (N, C, rows * columns, L): a convolution of each channel by itself, whose
    every kernel holds a single 1."""
    settings = operation.attributes
    channels = operation.shapes[0][1]
    rows, columns = settings["ksizes"]
    one_each = np.eye(rows * columns, dtype=np.float32).reshape(-1, 1, rows, columns)
    unfolded = writer.add(
        "Conv",
        x,
        np.tile(one_each, (channels, 1, 1, 1)),
        pads=[*settings["pads"], *settings["pads"]],
        strides=list(settings["strides"]),
        dilations=list(settings["dilations"]),
        group=channels,
    )
    return writer.add("Reshape", unfolded, writer.sizes([0, channels, rows * columns, -1]))


RULES: dict[str, Callable[..., Any]] = SHAPES | {
    "BatchMatMul": batch_matmul,
    "BatchNorm": batch_norm,
    "BiasAdd": bias_add,
    "Cast": cast,
    "ClampScalar": clamp,
    "Conv2D": conv2d,
    "Depend": first,
    "Im2Col": im2col,
    "LayerNorm": layer_norm,
    "Load": first,
    "MatMul": batch_matmul,
    "MaxPool": max_pool,
    "ReduceMax": largest,
    "ReduceMean": mean,
    "ReduceMin": least,
    "Softmax": softmax,
    "Square": square,
    "SumExt": total,
    "Trunc": trunc,
    "UpdateState": nothing,
}
