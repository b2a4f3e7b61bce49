"""The PyTorch network of a model as a contender."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch_networks import network, training_loss  # exists only in a checkout

from flag3d_exp.config.experiment import class_name
from flag3d_exp.errors import UserError


def prepare(
    cfg: DictConfig, folder: Path, tf32: bool = False
) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """The function for each request, and the facts of the contender.

    A heatmap network gets finished heatmaps; the project's network draws them in its step.

    Args:
        tf32: let products and convolutions drop mantissa bits, as `device.tf32` does.
    """
    where = "cuda" if cfg.device.target in ("auto", "gpu") and torch.cuda.is_available() else "cpu"
    if tf32:
        round_products()
    with np.load(folder / "weights.npz") as weights, np.load(folder / "clips.npz") as kept:
        settings = {**cfg.model, "num_classes": cfg.dataset.num_classes}
        model = network(class_name(cfg.model), settings, dict(weights)).to(where)
        suffix = "_heatmaps" if "train_heatmaps" in kept else ""
        clips = {
            split: torch.tensor(kept[split + suffix]).to(where) for split in ("train", "infer")
        }
        labels = torch.tensor(kept["labels"]).long().to(where)
    optimizer = optimizer_of(cfg.optimizer, [p for p in model.parameters() if p.requires_grad])

    def train() -> None:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss = training_loss(model, clips["train"], labels)
        loss.backward()
        optimizer.step()
        loss.item()

    def infer() -> None:
        model.eval()
        with torch.inference_mode():
            model(clips["infer"]).cpu()

    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {"train": train, "infer": infer}, {"num_parameters": trained, "device": where}


def round_products() -> None:
    """PyTorch's counterpart of `device.tf32`: bfloat16 on a processor, TF32 on a GPU."""
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "tf32"


def optimizer_of(
    settings: DictConfig, parameters: list[torch.nn.Parameter]
) -> torch.optim.Optimizer:
    """The configured optimizer, in PyTorch.

    Raises:
        UserError: the optimizer is neither `sgd` nor `adamw`.
    """
    name = str(settings._target_).rpartition(".")[2]
    if name == "sgd":
        return torch.optim.SGD(
            parameters,
            settings.lr,
            settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov,
        )
    if name == "adamw":
        betas = (settings.beta1, settings.beta2)
        return torch.optim.AdamW(
            parameters, settings.lr, betas, settings.eps, settings.weight_decay
        )
    raise UserError(f"`task.against=torch` knows `optimizer=sgd` and `adamw`; got {name}.")
