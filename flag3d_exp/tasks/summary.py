"""`task=summary`: the layers of a network, or the sizes of several networks, as a table."""

import logging
from dataclasses import dataclass
from typing import Annotated

from flag3d_exp import bounds, console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.made_up import made_up_inputs, made_up_split
from flag3d_exp.models.summary import Layer, layers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """Settings of `task=summary`.

    Args:
        depth: number of nested levels of the chosen model's layers to list.
        models: choices of `model` to compare instead, one line each.
    """

    depth: Annotated[int, ">= 1"] = 3
    models: list[str] | None = None

    def __post_init__(self) -> None:
        bounds.check(self, "task")

    def __call__(self, experiment: Experiment) -> None:
        """Print the table; write it to `summary.md`."""
        experiment.device()
        text = (
            layer_table(experiment, self.depth)
            if self.models is None
            else model_table(experiment, self.models)
        )
        folder = experiment.folder
        files.write_text(folder / "summary.md", text)
        console.show(text)


def layer_table(experiment: Experiment, depth: int) -> str:
    """A Markdown table of the model's layers for one clip, with the whole model last."""
    whole, *found = layers(experiment.model(), made_up_inputs(experiment, 1).values(), depth)
    rows = [_cells(layer, layer.name) for layer in [*found, whole]]
    header = ("layer", "kind", "output", "parameters", "multiply-adds (M)")
    return f"{_description(experiment)}\n\n{_table(header, rows)}"


def model_table(experiment: Experiment, models: list[str]) -> str:
    """A Markdown table with one line per model, for one clip of the chosen dataset."""
    rows = []
    for name in models:
        chosen = experiment.with_model(name)
        whole = layers(chosen.model(), made_up_inputs(chosen, 1).values(), depth=1)[0]
        clip = " x ".join(str(size) for size in clip_shape(chosen)[1:])
        cells = _cells(whole, name)
        rows.append((name, chosen.model_name, clip, *cells[3:]))
    header = ("model", "class", "persons x frames x joints x channels", "parameters", "M mult-adds")
    return _table(header, rows)


def clip_shape(experiment: Experiment) -> tuple[int, ...]:
    """(1, M, T, V, C) of one clip as the configured pipeline makes it."""
    return made_up_split(experiment, 1).clips(0)[:1].shape


def _description(experiment: Experiment) -> str:
    shape = " x ".join(str(size) for size in clip_shape(experiment)[1:])
    return f"{experiment.model_name}, one clip of {shape} (persons, frames, joints, channels)"


def _cells(layer: Layer, name: str) -> tuple[str, ...]:
    shape = " x ".join(str(size) for size in layer.shape)
    count = layer.multiply_adds
    work = "unknown" if count is None else f"{count / 1e6:,.1f}"
    parameters = f"{layer.num_parameters:,}"
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
