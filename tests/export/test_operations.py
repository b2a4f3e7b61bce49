"""The translation's rules, on numbers worked out by hand."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from flag3d_exp.errors import UserError
from flag3d_exp.export.mindir import Operation
from flag3d_exp.export.onnx_file import IR_VERSION, OPSET
from flag3d_exp.export.onnx_operations import translate
from flag3d_exp.export.onnx_writer import Writer


def computed(kind: str, x, *inputs, shapes=((), ()), **attributes) -> np.ndarray:
    """What the translation of one primitive makes of x."""
    writer = Writer()
    operation = Operation(kind, attributes, (), "", shapes)
    return evaluated(writer, translate(writer, operation, ["x", *inputs]), x)


def evaluated(writer: Writer, result: str, x) -> np.ndarray:
    """The tensor `result` of what was written, given x."""
    graph = helper.make_graph(
        [*writer.nodes, helper.make_node("Identity", [result], ["result"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
        list(writer.constants.values()),
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(["result"], {"x": np.array(x, np.float32)})
    return found


def test_truncation_is_towards_zero():
    assert computed("Trunc", [-1.5, -0.5, 0.5, 2.0]).tolist() == [-1, 0, 0, 2]


def test_convolutions_pad_top_bottom_left_right():
    """A kernel of three rows sees the padded rows above and below, and no padded column."""
    image = np.array([[1, 10], [2, 20]]).reshape(1, 1, 2, 2)
    weight = np.array([100, 1, 0.01], np.float32).reshape(1, 1, 3, 1)
    found = computed(
        "Conv2D",
        image,
        weight,
        pad_mode="pad",
        pad_list=(1, 1, 0, 0),
        stride=(1, 1, 1, 1),
        dilation=(1, 1, 1, 1),
        group=1,
    )
    np.testing.assert_allclose(found[0, 0], [[1.02, 10.2], [102, 1020]])


def test_unfolding_lists_a_channels_window_after_another():
    image = np.arange(8).reshape(1, 2, 4, 1)
    found = computed(
        "Im2Col",
        image,
        shapes=((1, 2, 4, 1), ()),
        ksizes=(3, 1),
        strides=(2, 1),
        dilations=(1, 1),
        pads=(1, 0),
    )
    expected = [[[0, 1], [0, 2], [1, 3]], [[0, 5], [4, 6], [5, 7]]]  # channel, row, window
    assert found[0].tolist() == expected


def test_slices_follow_their_masks():
    rows = [[0, 1, 2], [3, 4, 5]]
    open_ends = (0b01, 0b11, 0, 0, 0)  # the begin of axis 0, both ends
    assert computed("StridedSlice", rows, (9, 1), (9, 9), (1, 1), *open_ends).tolist() == [
        [1, 2],
        [4, 5],
    ]
    last_column = (0, 0b01, 0, 0, 0b10)
    assert computed("StridedSlice", rows, (0, -1), (9, 0), (1, 1), *last_column).tolist() == [2, 5]


def test_products_of_matrices_turn_them_where_told():
    pair = [[[1, 2], [3, 4]]]
    shapes = ((), (), (1, 2, 2))
    turned = computed("BatchMatMul", pair, "x", True, False, shapes=shapes)
    assert turned[0].tolist() == [[10, 14], [14, 20]]  # of the transpose and itself


def test_a_bias_belongs_to_the_second_axis():
    found = computed("BiasAdd", np.zeros((1, 2, 2)), np.float32([1, 2]), None, shapes=((1, 2, 2),))
    assert found[0].tolist() == [[1, 1], [2, 2]]


def test_columns_stacked_as_rows_are_the_transpose():
    writer = Writer()
    columns = translate(writer, Operation("Unstack", {"axis": 1, "num": 3}, (), "", ()), ["x"])
    rows = translate(writer, Operation("Stack", {"axis": 0}, (), "", ()), [columns])
    assert evaluated(writer, rows, [[0, 1, 2], [3, 4, 5]]).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_sizes_are_asked_for_when_the_network_runs():
    writer = Writer()
    sizes = translate(writer, Operation("Shape", {}, (), "", ()), ["x"])
    rows = translate(writer, Operation("TupleGetItem", {}, (), "", ()), [sizes, 0])
    doubled = translate(writer, Operation("ScalarMul", {}, (), "", ()), [rows, 2])
    flat = translate(writer, Operation("Reshape", {}, (), "", ()), ["x", (doubled, -1)])
    assert evaluated(writer, flat, np.arange(12).reshape(2, 6)).shape == (4, 3)
    assert evaluated(writer, flat, np.arange(12).reshape(3, 4)).shape == (6, 2)


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "said"),
    [
        ("FlashAttention", (), {}, "`FlashAttention`"),
        ("BatchNorm", ("s", "b", "m", "v", True, 1e-5), {}, "training mode"),
        ("StridedSlice", ((0,), (1,), (1,), 0, 0, 1, 0, 0), {}, "slices"),
        ("Cast", (35,), {}, "float32"),
        ("Conv2D", ("w",), {"pad_mode": "same"}, "explicit padding"),
    ],
)
def test_what_cannot_be_translated_is_named(kind, inputs, attributes, said):
    with pytest.raises(UserError, match=said):
        translate(Writer(), Operation(kind, attributes, (), "", ()), ["x", *inputs])
