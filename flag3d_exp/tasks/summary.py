"""`task=summary`: what networks are made of, as a table."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from flag3d_exp import bounds, console, files
from flag3d_exp.config import build
from flag3d_exp.models.summary import Layer, layers
from flag3d_exp.skeletons.layout import load_layout

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """Settings of `task=summary`.

    Args:
        depth: how many names deep to list the layers of the chosen model.
        models: choices of `model` to compare instead, one line each.
    """

    depth: Annotated[int, ">= 1"] = 3
    models: list[str] | None = None

    def __post_init__(self) -> None:
        bounds.check(self, "task")

    def __call__(self, cfg: DictConfig) -> None:
        """Print the table; write it to `summary.md`."""
        build.device(cfg)
        text = layer_table(cfg, self.depth) if self.models is None else model_table(self.models)
        folder = Path(HydraConfig.get().runtime.output_dir)
        files.write_text(folder / "summary.md", text)
        console.show(text)


def layer_table(cfg: DictConfig, depth: int) -> str:
    """Markdown: the model's layers for one clip, the whole last."""
    whole, *found = layers(build.model(cfg), clip_shape(cfg), depth)
    rows = [_cells(layer, layer.name) for layer in [*found, whole]]
    header = ("layer", "kind", "output", "parameters", "multiply-adds (M)")
    return f"{_described(cfg)}\n\n{_table(header, rows)}"


def model_table(models: list[str]) -> str:
    """Markdown: each model as a whole, for one clip of the chosen dataset."""
    rows = []
    for name, cfg in [(name, build.with_model(name)) for name in models]:
        whole = layers(build.model(cfg), clip_shape(cfg), depth=1)[0]
        clip = " x ".join(str(size) for size in clip_shape(cfg)[1:])
        cells = _cells(whole, name)
        rows.append((name, cells[1], clip, *cells[3:]))
    header = ("model", "class", "persons x frames x joints x channels", "parameters", "M mult-adds")
    return _table(header, rows)


def clip_shape(cfg: DictConfig) -> tuple[int, ...]:
    """(1, M, T, V, C) of one clip as the configured pipeline makes it."""
    layout = load_layout(cfg.dataset.layout)
    channels = 3 if "train_size" in cfg.pipeline else cfg.dataset.num_channels
    return (1, cfg.dataset.num_persons, cfg.pipeline.clip_len, layout.num_joints, channels)


def _described(cfg: DictConfig) -> str:
    shape = " x ".join(str(size) for size in clip_shape(cfg)[1:])
    return f"{build.class_name(cfg.model)}, one clip of {shape} (persons, frames, joints, channels)"


def _cells(layer: Layer, name: str) -> tuple[str, ...]:
    shape = " x ".join(str(size) for size in layer.shape)
    parameters, work = f"{layer.num_parameters:,}", f"{layer.multiply_adds / 1e6:,.1f}"
    return (name or "whole", layer.kind, shape, parameters, work)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    numbers = range(len(header) - 2, len(header))

    def line(row: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rules = [
        "-" * (width - 1) + ":" if column in numbers else "-" * width
        for column, width in enumerate(widths)
    ]
    return "\n".join([line(header), f"| {' | '.join(rules)} |", *map(line, rows)]) + "\n"
