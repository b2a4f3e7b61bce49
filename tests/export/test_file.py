"""Exported files: what they say of themselves, and how broken ones are refused."""

import sys

import mindspore as ms
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from flag3d_exp.errors import UserError
from flag3d_exp.export import mindir
from flag3d_exp.export.file import KEY, import_needed, open_file, write_file

FACTS = {"classes": ["a", "b"], "clip_shape": [2]}
CLIPS = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
FORMATS = ["onnx", "mindir"]


def onnx_graph() -> bytes:
    """logits = keypoints * [1, 10]."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["keypoints", "weight"], ["logits"])],
        "network",
        [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor("weight", TensorProto.FLOAT, [2], [1, 10])],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


class Weighing(ms.nn.Cell):
    """The same in MindSpore."""

    def __init__(self):
        super().__init__()
        self.weight = ms.Parameter(np.array([1, 10], np.float32), name="weight")

    def construct(self, x):
        return x * self.weight


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    return {
        "onnx": onnx_graph(),
        "mindir": mindir.compiled_network(Weighing(), (2,)).SerializeToString(),
    }


@pytest.fixture(params=FORMATS)
def path(request, graphs, tmp_path):
    """An exported file of each format."""
    path = tmp_path / f"model.{request.param}"
    write_file(path, graphs[request.param], FACTS)
    return path


def test_a_file_gives_back_its_facts_and_its_network(path):
    exported = open_file(path)
    assert exported.facts == FACTS
    for count in (2, 1, 3):
        np.testing.assert_array_equal(exported.logits(CLIPS[:count]), CLIPS[:count] * [1, 10])


def test_other_programs_find_the_facts_where_onnx_keeps_them(graphs, tmp_path):
    write_file(tmp_path / "model.onnx", graphs["onnx"], FACTS)
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    (entry,) = model.metadata_props
    assert entry.key == KEY
    assert '"classes": ["a", "b"]' in entry.value


def refusal(path) -> str:
    with pytest.raises(UserError) as caught:
        open_file(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_changed_byte_is_noticed(path):
    """One bit of the weight 10."""
    content = bytearray(path.read_bytes())
    at = content.index(np.float32(10).tobytes())
    content[at + 2] ^= 1
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_cut_and_foreign_files_are_refused_in_one_line(path, graphs):
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert str(path) in refusal(path)
    path.write_bytes(b"no network at all" * 100)
    assert "is no" in refusal(path)
    path.write_bytes(graphs[path.suffix[1:]])
    assert "was not written by `task=export`" in refusal(path)


def test_missing_files_and_other_endings_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "model.onnx")
    (tmp_path / "model.pt").touch()
    assert ".onnx or .mindir" in refusal(tmp_path / "model.pt")


def test_a_missing_extra_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r'pip install "flag3d-exp\[export\]"'):
        import_needed("onnxruntime")
