"""A compiled network in ONNX, for any number of clips.

MindSpore 2.10's own ONNX export fixes the number of clips, does not support im2col, and pads
kernels that are not square on the wrong sides. Therefore this module translates MindIR.
Sizes: N clips, M persons, T frames, V joints, C channels, K classes.
"""

from typing import Any

import onnx
from onnx import ModelProto, TensorProto, helper

from flag3d_exp.export.mindir import Graph, Shape
from flag3d_exp.export.onnx_operations import translate
from flag3d_exp.export.onnx_writer import Writer

OPSET, IR_VERSION = 17, 8  # of 2022, so other programs can read them


def onnx_model(graph: Graph, clip_shape: Shape, num_classes: int) -> ModelProto:
    """`keypoints` (N, M, T, V, C) -> `logits` (N, K), checked by ONNX's own rules.

    Raises:
        UserError: an operation of the network has no translation.
    """
    writer = Writer()
    used = {name for operation in graph.operations for name in operation.inputs}
    values: dict[str, Any] = {graph.input: "keypoints"} | graph.constants
    for name in used & graph.parameters.keys():
        values[name] = writer.constant(graph.parameters[name], name.rpartition(":")[2])
    for operation in graph.operations:
        inputs = [values[name] for name in operation.inputs]
        values[operation.output] = translate(writer, operation, inputs)
    writer.nodes.append(helper.make_node("Identity", [values[graph.output]], ["logits"], "logits"))
    body = helper.make_graph(
        writer.nodes,
        "network",
        [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", *clip_shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", num_classes])],
        list(writer.constants.values()),
    )
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    return model
