"""Map parameter names to names in published weight files.

A network's attribute `published` holds rules that rewrite its parameter names to those of PYSKL,
whose trained weights are public. `{0,1,2}` in a rewritten name means several tensors, which are
concatenated along the first axis. Tensors of other programs are first renamed to PYSKL's names.
"""

import re

import numpy as np

from flag3d_exp.weights.ctrgcn_authors import from_authors, is_authors_ctrgcn

Rules = tuple[tuple[str, str], ...]

_MINDSPORE: Rules = (
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"\.moving_mean$", ".running_mean"),
    (r"\.moving_variance$", ".running_var"),
    (r"\.data_bnc\.", ".data_bn."),
    (r"\._conv\.", ".conv."),
    (r"\._batch_norm\.(bn2d\.)?", ".bn."),
    (r"\.res_layers\.(\d+)\.", r".layer<\1>."),
    (r"^head\.fc(_cls)?\.", "cls_head.fc_cls."),
)


def source_names(rules: Rules, parameter: str) -> list[str]:
    """PYSKL's names of the tensors in `parameter`, in order; empty if no published file has it.

    Args:
        rules: the network's `published`. A rule that gives "" marks a parameter that no file has.
    """
    name = parameter
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    name = _counted(name)
    if not name:
        return []
    several = re.search(r"\{(.+?)\}", name)
    if several is None:
        return [name]
    return [name.replace(several[0], part) for part in several[1].split(",")]


def from_torch(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors of a `.pth` file with PYSKL's names; MMAction2's differ only in the head."""
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): array for name, array in tensors.items()}
    if is_authors_ctrgcn(tensors):
        return from_authors(tensors)
    return {re.sub(r"^cls_head\.fc\.", "cls_head.fc_cls.", n): a for n, a in tensors.items()}


def from_mindspore(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors of the `.ckpt` files released with FLAG3D, renamed to PYSKL's."""
    renamed = {}
    for name, array in tensors.items():
        for pattern, replacement in _MINDSPORE:
            name = re.sub(pattern, replacement, name)
        renamed[_counted(name)] = array
    return renamed


def _counted(name: str) -> str:
    """A name with each `<number>` replaced by the number plus one, since PYSKL counts from 1."""
    return re.sub(r"<(\d+)>", lambda number: str(int(number[1]) + 1), name)
