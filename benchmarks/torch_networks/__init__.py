"""The project's networks in PyTorch, for comparisons of time; nothing else needs PyTorch.

They are written as usual in PyTorch: `Conv2d` over (N, C, T, V), einsum for graph products,
`Conv3d` over (N, C, T, H, W). Layers correspond to flag3d_exp.models and have the same names, so
that weights can be copied.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from flag3d_exp.engine.checkpoint import Arrays
from flag3d_exp.errors import UserError
from torch_networks import graph, volume
from torch_networks.blockgcn import BlockGCN
from torch_networks.msg3d import MSG3D
from torch_networks.protogcn import ProtoGCN
from torch_networks.skateformer import SkateFormer

NETWORKS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "STGCN": graph.stgcn,
    "STGCNPP": graph.stgcnpp,
    "AGCN": graph.agcn,
    "AGCNOriginal": graph.agcn_original,
    "AAGCN": graph.aagcn,
    "CTRGCN": graph.ctrgcn,
    "DGSTGCN": graph.dgstgcn,
    "MSG3D": MSG3D,
    "ProtoGCN": ProtoGCN,
    "BlockGCN": BlockGCN,
    "SkateFormer": SkateFormer,
    "PoseC3D": volume.posec3d,
    "C3DLight": volume.c3d_light,
    "X3DShallow": volume.x3d_shallow,
}


def network(class_name: str, settings: Mapping[str, Any], weights: Arrays) -> nn.Module:
    """The PyTorch network of a model, with the model's weights.

    Args:
        class_name: of the model in flag3d_exp.models.
        settings: of the model group, and `num_classes`.
        weights: every parameter and running statistic of the model, by name.

    Raises:
        UserError: there is no PyTorch network for the model.
    """
    if class_name not in NETWORKS:
        raise UserError(
            f"`task.against=torch` knows no network for {class_name}; it knows "
            f"{', '.join(NETWORKS)}. Add one in benchmarks/torch_networks, or leave it out."
        )
    found = NETWORKS[class_name](settings)
    state = {name: torch.tensor(array) for name, array in weights.items()}
    state |= {n: t for n, t in found.state_dict().items() if n.endswith("num_batches_tracked")}
    found.load_state_dict(state)
    return found


def training_loss(model: nn.Module, clips: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loss that a step differentiates: the network's own, or cross entropy."""
    if hasattr(model, "loss"):
        return model.loss(clips, labels)
    return F.cross_entropy(model(clips), labels)
