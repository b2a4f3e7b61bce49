"""Published weights, fitted to one of our models: every tensor on either side accounted for."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mindspore import nn

from flag3d_exp.errors import UserError
from flag3d_exp.weights import names
from flag3d_exp.weights.mindspore_file import read_mindspore_file
from flag3d_exp.weights.torch_file import LEGACY, ZIP, read_torch_file

Arrays = dict[str, np.ndarray]
NOT_WEIGHTS = re.compile(
    r".*num_batches_tracked"  # a counter of PyTorch's batch norm
    r"|.*relative_position_index"  # which row of a table is whose, in transformers
    r"|backbone\.A"  # the graph before training, which the networks that hold it don't use
    r"|global_step|learning_rate|momentum|(accum|stat|moments)\..*"  # an optimizer's
)
LISTED = 4  # names of each kind in an error


def read_source(path: Path) -> Arrays:
    """Tensors of a `.pth` or `.ckpt` file under PYSKL's names.

    What the file is shows in its first bytes, whatever its name.

    Raises:
        UserError: it is neither, is damaged, or could run code.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY))
    except OSError as error:
        raise UserError(f"`task.source={path}` can't be read: {error.strerror}.") from error
    if start.startswith(ZIP):
        return names.from_torch(read_torch_file(path))
    if start == LEGACY:
        raise UserError(
            f"{path} is in PyTorch's format before 1.6; load it with PyTorch and save it again."
        )
    return names.from_mindspore(read_mindspore_file(path))


def rules_of(model: nn.Cell) -> tuple[str, names.Rules]:
    """The class of the backbone in a network, and what it says of its names in published files.

    Raises:
        UserError: it says nothing of them.
    """
    for _, cell in model.cells_and_names():
        if hasattr(cell, "published"):
            return type(cell).__name__, cell.published
    backbone = getattr(model, "backbone", model)
    raise UserError(
        f"no published weights are known for {type(backbone).__name__}: it has no attribute "
        "`published` that says what its parameters are called in them."
    )


def fitted(model: nn.Cell, source: Mapping[str, np.ndarray], skip_head: bool) -> Arrays:
    """A value for every parameter of a network with a head, by our names.

    Args:
        source: tensors under PYSKL's names.
        skip_head: keep the model's own head, whatever head the source has.

    Raises:
        UserError: the source lacks a tensor, has one too many, or one of another shape.
    """
    values: Arrays = {}
    kind, rules = rules_of(model)
    missing, misshaped, used = [], [], set()
    for parameter in model.get_parameters():
        wanted = names.source_names(rules, parameter.name)
        used.update(wanted)
        if not wanted or (skip_head and parameter.name.startswith("head.")):
            values[parameter.name] = parameter.asnumpy()
            continue
        absent = [name for name in wanted if name not in source]
        if absent:
            missing += absent
            continue
        try:
            array = np.concatenate([np.atleast_1d(source[name]) for name in wanted])
            shape = array.shape
        except ValueError:  # parts that do not fit each other
            shape = source[wanted[0]].shape
        if not _same_values(shape, tuple(parameter.shape)):
            misshaped.append(f"{_several(wanted)} {shape}, not {tuple(parameter.shape)}")
            continue
        values[parameter.name] = array.reshape(parameter.shape).astype(np.float32)
    unexpected = [n for n in source if n not in used and not NOT_WEIGHTS.fullmatch(n)]
    problems = [
        f"{kind} {len(found)}: {_several(found)}"
        for kind, found in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", misshaped),
        )
        if found
    ]
    if problems:
        hint = " `task.head=skip` leaves the head out." if _only_head(misshaped) else ""
        raise UserError(f"the weights do not fit {kind}; {'; '.join(problems)}.{hint}")
    broken = [name for name, value in values.items() if not np.isfinite(value).all()]
    if broken:
        raise UserError(f"the weights hold NaN or infinite values: {_several(broken)}.")
    return values


def _essential(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the sizes of 1, which programs write differently."""
    return tuple(size for size in shape if size != 1)


def _same_values(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether an array of `shape` is one of `wanted`, dimensions after the first perhaps joined.

    MS-G3D's convolution over a window is (out, in, 1, window, 1) there and (out, in * window, 1, 1)
    here.
    """
    found, ours = _essential(shape), _essential(wanted)
    joined = len(found) > len(ours) == 2 and (found[0], math.prod(found[1:])) == ours
    return found == ours or joined


def _only_head(misshaped: list[str]) -> bool:
    return bool(misshaped) and all("fc" in text for text in misshaped)


def _several(found: list[str]) -> str:
    more = len(found) - LISTED
    return ", ".join(found[:LISTED]) + (f" and {more} more" if more > 0 else "")
