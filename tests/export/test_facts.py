"""Exported files that say what cannot be, with checksums that fit, are refused in one line."""

import json

import numpy as np
import onnx
import pytest
from exported_files import GRAPH, exported
from onnx import TensorProto, helper

from flag3d_exp.errors import UserError
from flag3d_exp.export import arithmetic
from flag3d_exp.export.file import write_file
from flag3d_exp.export.onnx_operations import RULES, SAME_MEANING
from flag3d_exp.export.serving import Classifier

SETTINGS = {"layout": "", **GRAPH}
CHANGES = {
    "a path for a layout": ({"layout": {"name": "/etc/hosts.yaml", "file": None}}, "`layout`"),
    "a layout above": ({"layout": {"name": "../up", "file": "x"}}, "a name, not a path"),
    "a long layout": ({"layout": {"name": "x" * 300, "file": "x"}}, "a name, not a path"),
    "a number for a layout": ({"layout": {"name": 3, "file": None}}, "`name` must be str"),
    "no layout": ({"layout": None}, "mapping"),
    "a layout that is none": ({"layout": {"name": "mine", "file": "joints: 3"}}, "`joints` must"),
    "a text of classes": ({"classes": "xyz"}, "`classes` must be list"),
    "classes too few": ({"classes": ["x", "y"]}, "2 `classes`, not 3"),
    "a class twice": ({"classes": ["x", "y", "y"]}, "one name, 'y'"),
    "another pipeline": ({"pipeline": {"class": "os.system", "settings": {}}}, "GraphPipeline"),
    "no settings": ({"pipeline": {"class": "GraphPipeline"}}, "its `settings`"),
    "a setting unknown": (
        {"pipeline": {"class": "GraphPipeline", "settings": SETTINGS | {"x": 1}}},
        "unknown key `x`",
    ),
    "a part of three": (
        {"pipeline": {"class": "GraphPipeline", "settings": SETTINGS | {"test_part": [0, 1, 1]}}},
        "`test_part` must be",
    ),
    "no frames": (
        {"pipeline": {"class": "GraphPipeline", "settings": SETTINGS | {"clip_len": 0}}},
        "`pipeline.clip_len` must be",
    ),
    "clips without end": (
        {
            "pipeline": {
                "class": "GraphPipeline",
                "settings": SETTINGS | {"clip_len": 100_000, "num_clips": 1000},
            },
            "clip_shape": [1, 100_000, 2, 3],
        },
        "are 600000000 numbers",
    ),
    "a stream of numbers": ({"stream": {"name": "joint", "bones": 1}}, "`bones` must be bool"),
    "a dataset of nothing": ({"dataset": {}}, "lacks `name`"),
    "another shape": ({"clip_shape": [1, 2, 2, 2]}, r"`clip_shape` must be \[1, 2, 2, 3\]"),
    "a shape of texts": ({"clip_shape": ["1", 2, 2, 3]}, "`clip_shape` must be list"),
    "a temperature of nothing": ({"temperature": 0.0}, "`temperature` must be a number above 0"),
    "scores of a text": ({"scored": "yes"}, "`scored` must be bool"),
}


@pytest.mark.parametrize("title", CHANGES)
def test_facts_that_cannot_be_are_refused_by_their_names(title, tmp_path):
    facts, said = CHANGES[title]
    path = exported(tmp_path / "model.onnx", GRAPH, **facts)
    with pytest.raises(UserError, match=said) as caught:
        Classifier(path)
    assert str(caught.value).startswith(f"`{path}`: its facts about the network can't be used: ")
    assert "\n" not in str(caught.value)


def of_graph(path, nodes, outputs=("N", 3), functions=(), **graph):
    """A file of the good facts with another graph."""
    good = exported(path, GRAPH)
    facts = json.loads(onnx.load(good).metadata_props[0].value)
    clips = helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", 1, 2, 2, 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, outputs)
    body = helper.make_graph(nodes, "network", [clips], [logits], **graph)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=8, functions=functions)
    write_file(path, model.SerializeToString(), facts)
    return path


def mean(output: str = "logits"):
    return helper.make_node("ReduceMean", ["keypoints"], [output], axes=[1, 2, 3], keepdims=0)


def loop():
    """A loop that never ends."""
    condition = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    again = helper.make_node("Identity", ["go"], ["go_on"])
    still = helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])
    return helper.make_graph([again], "body", [count, condition], [still])


def elsewhere() -> TensorProto:
    """A tensor whose numbers are in another file."""
    tensor = helper.make_tensor("weight", TensorProto.FLOAT, [3], [0.0] * 3)
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def test_graphs_that_do_more_than_compute_are_refused(tmp_path):
    path = tmp_path / "model.onnx"
    function = helper.make_function(
        "evil", "Double", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], []
    )
    double = helper.make_node("Double", ["m"], ["logits"], domain="evil")
    own = helper.make_node("Add", ["m", "m"], ["logits"], domain="evil")
    constant = helper.make_node("Constant", [], ["c"], value=elsewhere())
    endless = helper.make_node("Loop", ["", ""], [], body=loop())
    for nodes, more, said in (
        ([mean(), endless], {}, "'Loop'"),
        ([mean("m"), double], {"functions": [function]}, "'Double'"),
        ([mean("m"), own], {}, "from outside ONNX"),
        ([mean()], {"functions": [function]}, "field 25"),
        ([mean(), constant], {}, "'Constant'"),
        ([mean()], {"initializer": [elsewhere()]}, "field 13"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            Classifier(of_graph(path, nodes, **more))
        assert str(caught.value).startswith(f"`{path}`: its graph ")


def test_networks_that_answer_something_else_are_refused_when_they_are_opened(tmp_path):
    path = tmp_path / "model.onnx"
    few = helper.make_node("ReduceMean", ["keypoints"], ["logits"], axes=[1, 2, 3, 4], keepdims=0)
    for nodes, outputs, said in (
        ([few], ["N"], r"float32 of \[1, 3\]; got float32 of \[1\]"),
        ([helper.make_node("Reshape", ["keypoints", "shape"], ["logits"])], [7], "be computed"),
    ):
        shape = helper.make_tensor("shape", TensorProto.INT64, [1], [7])
        made = of_graph(path, nodes, outputs, initializer=[shape])
        with pytest.raises(UserError, match=said) as caught:
            Classifier(made)
        assert "\n" not in str(caught.value)


def test_every_primitive_that_is_translated_may_be_in_a_mindir_file():
    assert {*RULES, *SAME_MEANING} <= set(arithmetic.MINDIR_OPERATIONS.split())


def test_a_mindir_graph_with_a_primitive_that_runs_python_is_refused(tmp_path):
    from flag3d_exp.mindspore_adapter import AttributeProto, ModelProto  # pyright: ignore[reportAttributeAccessIssue]

    model = ModelProto()
    model.primitives.add(name="PyExecute:1", op_type="PyExecute")
    path = tmp_path / "model.mindir"
    write_file(path, model.SerializeToString(), {})
    with pytest.raises(UserError, match="the operation 'PyExecute'"):
        Classifier(path)
    model = ModelProto()
    node = model.graph.node.add(op_type="Constant")
    node.attribute.add(name="value", type=AttributeProto.NAME_SPACE)
    write_file(path, model.SerializeToString(), {})
    with pytest.raises(UserError, match="constant that is not a number"):
        Classifier(path)


def test_an_answer_stays_the_mean_of_the_coordinates(tmp_path):
    path = of_graph(tmp_path / "model.onnx", [mean()])
    np.testing.assert_allclose(
        Classifier(path).exported.logits(np.ones((2, 1, 2, 2, 3), np.float32)), 1
    )
