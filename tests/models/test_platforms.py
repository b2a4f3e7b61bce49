"""Only operations that MindSpore documents for Ascend, GPU and CPU are used in models."""

# pyright: reportAttributeAccessIssue=false

import inspect
import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops
from networks import GRAPH, HEATMAP, OTHERS, TINY_HEATMAP, classifier

from flag3d_exp.mindspore_adapter import ModelProto
from flag3d_exp.models.kernels import cpu, native, using

PLATFORMS = {"Ascend", "GPU", "CPU"}
# Primitive in a compiled graph: the function of `mindspore.ops` that is documented for it. Source:
# "Supported Platforms" in the API documentation of MindSpore 2.10 (its docstrings).
DOCUMENTED = {
    "Add": "add",
    "AssignAdd": "assign_add",
    "BatchMatMul": "BatchMatMul",
    "BatchNorm": "BatchNorm",
    "BiasAdd": "BiasAdd",
    "Cast": "cast",
    "Concat": "cat",
    "Conv2D": "Conv2D",
    "Cos": "cos",
    "Div": "div",
    "Divs": "div",
    "Erf": "erf",
    "Exp": "exp",
    "ExpandDims": "expand_dims",
    "Eye": "eye",
    "Gather": "gather",
    "Greater": "gt",
    "GreaterEqual": "ge",
    "Im2Col": "unfold",
    "LayerNorm": "LayerNorm",
    "LessEqual": "le",
    "LessScalar": "less",
    "LogicalAnd": "logical_and",
    "MatMul": "matmul",
    "MatMulExt": "matmul",
    "MaxPool": "MaxPool",
    "Maximum": "maximum",
    "Mul": "mul",
    "Muls": "mul",
    "Neg": "neg",
    "ReLU": "relu",
    "ReduceMax": "amax",
    "ReduceMean": "mean",
    "ReduceMin": "amin",
    "Reshape": "reshape",
    "Rsqrt": "rsqrt",
    "Select": "select",
    "Sigmoid": "sigmoid",
    "Sin": "sin",
    "Softmax": "softmax",
    "Sqrt": "sqrt",
    "Square": "square",
    "Stack": "stack",
    "StridedSlice": "strided_slice",
    "Sub": "sub",
    "SumExt": "sum",
    "Tile": "tile",
    "Transpose": "transpose",
    "Trunc": "trunc",
    "Unstack": "unbind",
}
# Of the graph itself: they run nothing on a device.
STRUCTURE = {
    "Constant",
    "Depend",
    "Load",
    "MakeTuple",
    "TupleGetItem",
    "UpdateState",
    "make_list",
}
NETWORKS = GRAPH | OTHERS | {kind: sizes | TINY_HEATMAP for kind, sizes in HEATMAP.items()}


def documented_platforms(name: str) -> set[str]:
    """What the documentation of `mindspore.ops.<name>` lists."""
    text = inspect.getdoc(getattr(ops, name)) or ""
    found = re.search(r"Supported Platforms:\s*\n\s*(.*)", text)
    assert found, f"mindspore.ops.{name} documents no platforms"
    return set(re.findall(r"``(\w+)``", found.group(1)))


@pytest.mark.parametrize("name", sorted(set(DOCUMENTED.values())))
def test_the_table_says_what_the_documentation_says(name):
    assert documented_platforms(name) >= PLATFORMS


@pytest.mark.slow
@pytest.mark.parametrize("table", [cpu, native], ids=["cpu", "native"])
@pytest.mark.parametrize("kind", NETWORKS, ids=lambda kind: kind.__name__)
def test_a_network_uses_operations_in_the_table_only(kind, table, tmp_path):
    layout, num_joints = ("coco", 17) if kind in HEATMAP else ("nturgb+d", 25)
    with using(table):
        network = classifier(kind, 5, layout, **NETWORKS[kind])
    keypoints = np.random.default_rng(0).random((2, 1, 8, num_joints, 3), np.float32)
    for training in (False, True):
        network.set_train(training)
        path = tmp_path / f"{training}.mindir"
        ms.export(network, ms.Tensor(keypoints), file_name=str(path), file_format="MINDIR")
        assert operations(path.read_bytes()) <= DOCUMENTED.keys() | STRUCTURE


def operations(mindir: bytes) -> set[str]:
    """The primitives in a file of `ms.export`."""
    model = ModelProto()
    model.ParseFromString(mindir)
    kinds = {node.op_type for graph in (model.graph, *model.functions) for node in graph.node}
    return {kind.split(":")[2] if kind.startswith("REF::") else kind for kind in kinds}
