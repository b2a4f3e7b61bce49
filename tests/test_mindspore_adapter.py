"""What the program relies on in MindSpore beyond its documented interface still holds."""

# pyright: reportAttributeAccessIssue=false

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from flag3d_exp.mindspore_adapter import (
    ModelProto,
    copy_model,
    in_mixed_precision,
    isconstant,
)


class Scaled(nn.Cell):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = ms.Parameter(np.full(1, factor, np.float32), name="factor")

    def construct(self, x):
        return x * self.factor


def test_a_model_in_mixed_precision_is_recognised():
    model = nn.SequentialCell(Scaled(2.0))
    assert not in_mixed_precision(model)
    assert in_mixed_precision(ms.amp.auto_mixed_precision(model, "auto", ms.float16))


def test_a_copy_of_a_recomputing_cell_computes_with_its_own_weights():
    cell = Scaled(2.0)
    cell.recompute()
    model: Any = nn.SequentialCell(cell)
    copy: Any = copy_model(model)
    ops.assign(cell.factor, Tensor([5.0]))
    ones = Tensor(np.ones(3, np.float32))
    np.testing.assert_array_equal(copy(ones).asnumpy(), np.full(3, 2.0))
    np.testing.assert_array_equal(model(ones).asnumpy(), np.full(3, 5.0))
    assert all(one._recompute_cell is None for _, one in copy.cells_and_names())


def test_a_mindir_file_is_a_message_of_graph_nodes_and_parameters(tmp_path):
    path, ones = tmp_path / "scaled.mindir", Tensor(np.ones(3, np.float32))
    ms.export(Scaled(2.0), ones, file_name=str(path), file_format="MINDIR")
    model: Any = ModelProto.FromString(path.read_bytes())
    assert any("Mul" in node.op_type for node in model.graph.node)
    (parameter,) = model.graph.parameter
    assert parameter.name.endswith("factor")
    assert list(np.frombuffer(parameter.raw_data, np.float32)) == [2.0]


class Doubled(nn.Cell):
    """Twice the input, or three times if its size is known when it is compiled."""

    def construct(self, x):
        return x * 3 if isconstant(x.shape[0]) else x * 2


def test_a_size_that_is_known_at_compilation_is_told_from_others(tmp_path):
    path, any_size = str(tmp_path / "doubled.mindir"), Tensor(shape=[None, 2], dtype=ms.float32)
    ms.export(Doubled(), any_size, file_name=path, file_format="MINDIR")
    model: Any = nn.GraphCell(ms.load(path))
    model.set_inputs(any_size)
    ones = Tensor(np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(model(ones).asnumpy(), np.full((3, 2), 2.0))
    np.testing.assert_array_equal(Doubled()(ones).asnumpy(), np.full((3, 2), 3.0))
