"""Translation to ONNX of the primitives that only move numbers or read sizes.

The functions have the same form as in `onnx_operations`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flag3d_exp.errors import UserError
from flag3d_exp.export.mindir import Operation
from flag3d_exp.export.onnx_writer import AllSizes, Size, Writer

END = np.iinfo(np.int64).max


def joined_values(_writer: Writer, _operation: Operation, *values: Any) -> tuple:
    """The values as one tuple; ONNX needs no node for it."""
    return values


def item(writer: Writer, _operation: Operation, values: Any, index: int) -> Any:
    """One value of a tuple, or one size of a tensor."""
    if isinstance(values, AllSizes):
        return Size(writer.add("Shape", values.tensor, start=index, end=index + 1))
    return values[index]


def sizes(_writer: Writer, _operation: Operation, x: Any) -> AllSizes:
    """All sizes of a tensor; each one is read separately."""
    return AllSizes(x)


def size_product(writer: Writer, _operation: Operation, one: Any, other: Any) -> Size:
    """The product of two sizes."""
    return Size(writer.add("Mul", writer.sizes([one]), writer.sizes([other])))


def size_quotient(writer: Writer, _operation: Operation, one: Any, other: Any) -> Size:
    """The quotient of two sizes, rounded down."""
    return Size(writer.add("Div", writer.sizes([one]), writer.sizes([other])))


def reshape(writer: Writer, _operation: Operation, x: Any, shape: Sequence) -> str:
    """The same numbers in another shape, whose sizes may be known only at run time."""
    return writer.add("Reshape", x, writer.sizes(shape))


def transpose(writer: Writer, _operation: Operation, x: Any, order: Sequence[int]) -> str:
    """The axes in another order."""
    return writer.add("Transpose", x, perm=list(order))


def expand_dims(writer: Writer, _operation: Operation, x: Any, axis: int) -> str:
    """A new axis of size 1."""
    return writer.add("Unsqueeze", x, writer.sizes([axis]))


def concat(writer: Writer, _operation: Operation, parts: Sequence, axis: int) -> str:
    """The parts, concatenated along an axis."""
    return writer.add("Concat", *parts, axis=axis)


def stack(writer: Writer, operation: Operation, parts: Sequence) -> str:
    """The parts, stacked along a new axis."""
    axis = operation.attributes["axis"]
    raised = [writer.add("Unsqueeze", part, writer.sizes([axis])) for part in parts]
    return writer.add("Concat", *raised, axis=axis)


def unstack(writer: Writer, operation: Operation, x: Any) -> tuple[str, ...]:
    """The slices along an axis, which is removed."""
    axis, count = operation.attributes["axis"], operation.attributes["num"]
    return tuple(writer.add("Gather", x, np.array(at), axis=axis) for at in range(count))


def gather(
    writer: Writer, _operation: Operation, x: Any, indices: Any, axis: int, _batch_dims: int
) -> str:
    """The slices at the given indices of an axis."""
    return writer.add("Gather", x, indices, axis=axis)


def strided_slice(
    writer: Writer,
    _operation: Operation,
    x: Any,
    begin: Sequence,
    end: Sequence,
    strides: Sequence[int],
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_mask: int,
) -> str:
    """A slice of a tensor.

    Each mask has one bit per axis: from the start, to the end, or remove the axis.
    """
    if ellipsis_mask or new_axis_mask:
        raise UserError("`task.format=onnx`: slices with `...` or `None` are not translated.")
    axes = range(len(begin))
    shrunk = [axis for axis in axes if shrink_mask >> axis & 1]
    starts = [0 if begin_mask >> axis & 1 else begin[axis] for axis in axes]
    ends = [END if end_mask >> axis & 1 else end[axis] for axis in axes]
    for axis in shrunk:
        ends[axis] = starts[axis] + 1 or END  # exclusive; the position after -1 is the end
    vectors = [writer.sizes(values) for values in (starts, ends, axes, strides)]
    taken = writer.add("Slice", x, *vectors)
    return writer.add("Squeeze", taken, writer.sizes(shrunk)) if shrunk else taken


def tile(writer: Writer, _operation: Operation, x: Any, multiples: Sequence) -> str:
    """The tensor, repeated along each axis."""
    return writer.add("Tile", x, writer.sizes(multiples))


def zeros(writer: Writer, _operation: Operation, shape: Sequence, _kind: int) -> str:
    """A tensor of zeros with the given shape."""
    return writer.add("ConstantOfShape", writer.sizes(shape))


def zeros_like(writer: Writer, _operation: Operation, x: Any, *_kind: Any) -> str:
    """Zeros with the shape of another tensor."""
    return writer.add("ConstantOfShape", writer.add("Shape", x))


SHAPES: dict[str, Callable[..., Any]] = {
    "Concat": concat,
    "ExpandDims": expand_dims,
    "Gather": gather,
    "MakeTuple": joined_values,
    "Reshape": reshape,
    "ScalarFloorDiv": size_quotient,
    "ScalarMul": size_product,
    "Shape": sizes,
    "Stack": stack,
    "StridedSlice": strided_slice,
    "Tile": tile,
    "Transpose": transpose,
    "TupleGetItem": item,
    "Unstack": unstack,
    "Zeros": zeros,
    "ZerosLike": zeros_like,
    "make_list": joined_values,
}
