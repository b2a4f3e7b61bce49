"""What MindSpore's primitives that only move numbers about, or ask for sizes, are in ONNX.

Functions as in `onnx_operations`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flag3d_exp.errors import UserError
from flag3d_exp.export.mindir import Operation
from flag3d_exp.export.onnx_writer import AllSizes, Size, Writer

END = np.iinfo(np.int64).max


def gathered(_writer: Writer, _operation: Operation, *values: Any) -> tuple:
    """Values as one tuple; ONNX has no node for it."""
    return values


def item(writer: Writer, _operation: Operation, values: Any, index: int) -> Any:
    """One value of a tuple, or one size of a tensor's."""
    if isinstance(values, AllSizes):
        return Size(writer.add("Shape", values.tensor, start=index, end=index + 1))
    return values[index]


def sizes(_writer: Writer, _operation: Operation, x: Any) -> AllSizes:
    """All sizes of a tensor, which are looked up one by one."""
    return AllSizes(x)


def size_product(writer: Writer, _operation: Operation, one: Any, other: Any) -> Size:
    """One size times another."""
    return Size(writer.add("Mul", writer.sizes([one]), writer.sizes([other])))


def size_quotient(writer: Writer, _operation: Operation, one: Any, other: Any) -> Size:
    """One size by another, rounded down."""
    return Size(writer.add("Div", writer.sizes([one]), writer.sizes([other])))


def reshape(writer: Writer, _operation: Operation, x: Any, shape: Sequence) -> str:
    """The same numbers in another shape, whose sizes may be found out at run time."""
    return writer.add("Reshape", x, writer.sizes(shape))


def transpose(writer: Writer, _operation: Operation, x: Any, order: Sequence[int]) -> str:
    """The axes in another order."""
    return writer.add("Transpose", x, perm=list(order))


def expand_dims(writer: Writer, _operation: Operation, x: Any, axis: int) -> str:
    """A new axis of size 1."""
    return writer.add("Unsqueeze", x, writer.sizes([axis]))


def concat(writer: Writer, _operation: Operation, parts: Sequence, axis: int) -> str:
    """Parts behind one another along an axis."""
    return writer.add("Concat", *parts, axis=axis)


def stack(writer: Writer, operation: Operation, parts: Sequence) -> str:
    """Parts beside one another along a new axis."""
    axis = operation.attributes["axis"]
    raised = [writer.add("Unsqueeze", part, writer.sizes([axis])) for part in parts]
    return writer.add("Concat", *raised, axis=axis)


def unstack(writer: Writer, operation: Operation, x: Any) -> tuple[str, ...]:
    """The slices along an axis, which disappears."""
    axis, count = operation.attributes["axis"], operation.attributes["num"]
    return tuple(writer.add("Gather", x, np.array(at), axis=axis) for at in range(count))


def gather(
    writer: Writer, _operation: Operation, x: Any, indices: Any, axis: int, _batch_dims: int
) -> str:
    """The slices along an axis that the indices name."""
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
    """A set bit of a mask concerns that axis: all from its start, all to its end, one taken out."""
    if ellipsis_mask or new_axis_mask:
        raise UserError("`task.format=onnx`: slices with `...` or `None` are not translated.")
    axes = range(len(begin))
    shrunk = [axis for axis in axes if shrink_mask >> axis & 1]
    starts = [0 if begin_mask >> axis & 1 else begin[axis] for axis in axes]
    ends = [END if end_mask >> axis & 1 else end[axis] for axis in axes]
    for axis in shrunk:
        ends[axis] = starts[axis] + 1 or END  # up to, but after -1 comes the end
    vectors = [writer.sizes(values) for values in (starts, ends, axes, strides)]
    taken = writer.add("Slice", x, *vectors)
    return writer.add("Squeeze", taken, writer.sizes(shrunk)) if shrunk else taken


def tile(writer: Writer, _operation: Operation, x: Any, multiples: Sequence) -> str:
    """The tensor repeated along each axis."""
    return writer.add("Tile", x, writer.sizes(multiples))


def zeros(writer: Writer, _operation: Operation, shape: Sequence, _kind: int) -> str:
    """A tensor of zeros of a shape."""
    return writer.add("ConstantOfShape", writer.sizes(shape))


def zeros_like(writer: Writer, _operation: Operation, x: Any, *_kind: Any) -> str:
    """Zeros in the shape of another tensor."""
    return writer.add("ConstantOfShape", writer.add("Shape", x))


SHAPES: dict[str, Callable[..., Any]] = {
    "Concat": concat,
    "ExpandDims": expand_dims,
    "Gather": gather,
    "MakeTuple": gathered,
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
    "make_list": gathered,
}
