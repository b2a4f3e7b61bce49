"""Assign published weights to a model's parameters and check that every tensor is used."""

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
    r"|.*relative_position_index"  # index into a table of position biases, in transformers
    r"|backbone\.A"  # the initial graph, a buffer that networks with a learned graph don't use
    r"|global_step|learning_rate|momentum|(accum|stat|moments)\..*"  # state of an optimizer
)
LISTED = 4  # names of each kind to list in an error message


def read_source(path: Path) -> Arrays:
    """Tensors of a `.pth` or `.ckpt` file, with PYSKL's names.

    The format is detected from the first bytes, not from the file's name.

    Raises:
        UserError: the file has neither format, is damaged, or could run code.
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
    """The name of the backbone's class, and its rules for parameter names in published files.

    Raises:
        UserError: the backbone has no such rules.
    """
    for _, cell in model.cells_and_names():
        if hasattr(cell, "published"):
            return type(cell).__name__, cell.published
    backbone = getattr(model, "backbone", model)
    raise UserError(
        f"no published weights are known for {type(backbone).__name__}: it has no attribute "
        "`published` with its parameters' names in published files."
    )


def fitted_values(model: nn.Cell, source: Mapping[str, np.ndarray], skip_head: bool) -> Arrays:
    """A value for every parameter of a network with a head, by the parameter's name.

    Args:
        source: tensors with PYSKL's names.
        skip_head: keep the model's head and ignore the source's head.

    Raises:
        UserError: the source lacks a tensor, has an unknown one, or one of another shape.
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
        except ValueError:  # parts with incompatible shapes
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
    """A shape without axes of size 1, in which programs differ."""
    return tuple(size for size in shape if size != 1)


def _same_values(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether `shape` can be reshaped to `wanted` by joining axes after the first.

    MS-G3D's convolution over a window is (out, in, 1, window, 1) in PYSKL and (out, in * window, 1,
    1) here.
    """
    found, ours = _essential(shape), _essential(wanted)
    joined = len(found) > len(ours) == 2 and (found[0], math.prod(found[1:])) == ours
    return found == ours or joined


def _only_head(misshaped: list[str]) -> bool:
    return bool(misshaped) and all("fc" in text for text in misshaped)


def _several(found: list[str]) -> str:
    more = len(found) - LISTED
    return ", ".join(found[:LISTED]) + (f" and {more} more" if more > 0 else "")
