"""Every use of undocumented behaviour of MindSpore, in one place.

Each has a test in `tests/test_mindspore_adapter.py`, which fails if a new version of MindSpore
behaves differently.
"""

# The classes of MindIR's messages are made when mind_ir_pb2 is imported.
# pyright: reportAttributeAccessIssue=false

from copy import deepcopy

from mindspore import nn
from mindspore.ops.functional import isconstant
from mindspore.train.mind_ir_pb2 import AttributeProto, GraphProto, ModelProto, TensorProto

__all__ = [
    "AttributeProto",
    "GraphProto",
    "ModelProto",
    "TensorProto",
    "copy_model",
    "in_mixed_precision",
    "isconstant",
]


def in_mixed_precision(model: nn.Cell) -> bool:
    """Whether `amp.auto_mixed_precision` has wrapped the model's `construct`."""
    return hasattr(model, "amp_strategy")


def copy_model(model: nn.Cell) -> nn.Cell:
    """A deep copy whose cells do not recompute.

    `Cell.recompute` wraps a cell's `construct`, and a plain copy would call the original's
    `construct`. MindSpore also keeps the inputs of such a cell until a gradient is computed, which
    evaluation never does.
    """
    wrappers = [cell._recompute_cell for _, cell in model.cells_and_names()]
    return deepcopy(model, {id(wrapper): None for wrapper in wrappers if wrapper is not None})
