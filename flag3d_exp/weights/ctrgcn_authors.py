"""Convert state dicts of the CTR-GCN authors' code to those of PYSKL's CTR-GCN.

Names and the orientation of edges differ. With edges E of a subset, PYSKL's joint v receives the
sum over u of E[u, v] x[u]; the authors' joint u receives the sum over v of E[u, v] x[v]. E is
conv4(tanh(conv1[u] - conv2[v])) + A[u, v] in both. So the authors' graph is transposed, and their
`conv1` is PYSKL's `conv2` with the opposite sign, and vice versa.
"""

import re

import numpy as np

MARK = "l1.gcn1.convs.0.conv1.weight"


def is_authors_ctrgcn(tensors: dict[str, np.ndarray]) -> bool:
    """Whether the tensors have the names of the authors' code."""
    return MARK in tensors


def from_authors(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with PYSKL's names and orientation of edges."""
    renamed = {}
    for name, array in tensors.items():
        name = re.sub(r"^data_bn\.", "backbone.data_bn.", name)
        name = re.sub(r"^fc\.", "cls_head.fc_cls.", name)
        name = re.sub(r"^l(\d+)\.", lambda number: f"backbone.net.{int(number[1]) - 1}.", name)
        if name.endswith(".gcn1.PA"):
            name, array = name.removesuffix("PA") + "A", array.swapaxes(-1, -2)
        elif ".convs." in name and ".conv1." in name:
            name, array = name.replace(".conv1.", ".conv2."), -array
        elif ".convs." in name and ".conv2." in name:
            name, array = name.replace(".conv2.", ".conv1."), -array
        renamed[name] = array
    return renamed
