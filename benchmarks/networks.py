"""Networks on one dataset: accuracy, parameters and speed, to see which to choose.

    python benchmarks/networks.py outputs/networks experiment=uiprmd_stgcn dataset.path=uiprmd.pkl

Each network has about a quarter of its published width and is trained with each seed, with the same
settings but those of `NETWORKS`. Heatmap networks, for 2D data, must be named (`--networks`). The
only evaluation is after the last epoch. Differences are to the first network, over recordings, with
a paired test. Clips per second are those of the last epochs of training. A study that was
interrupted continues where it stopped. Words after the folder are settings of the runs.
"""

import argparse
from pathlib import Path

import numpy as np
from studies import accuracy_cells, arguments, hits, list_of, paired_difference, train

from flag3d_exp.devices.processor import processor
from flag3d_exp.runs.run_folder import read_metrics

TRANSFORMER = (  # as published, but for fewer epochs
    "optimizer=adamw",
    "optimizer.lr=0.001",
    "optimizer.weight_decay=0.1",
    "problem.label_smoothing=0.1",
    "task.clip_norm=1.0",
)
COLUMNS = ["network", "parameters", "clips/s", "top-1 of seeds", "mean ± spread", "difference", "p"]
HEATMAPS = (
    "model.base_channels=8",
    "pipeline.clip_len=16",
    "pipeline.short_side=36",
    "pipeline.train_size=32",
    "pipeline.test_size=32",
    "task.clip_norm=40.0",
    "optimizer.weight_decay=0.0003",
)
GRAPH_NETWORKS: dict[str, tuple[str, ...]] = {
    "stgcn": ("model.base_channels=16",),
    "stgcnpp": ("model.base_channels=16",),
    "agcn": ("model.base_channels=16",),
    "aagcn": ("model.base_channels=16",),
    "ctrgcn": ("model.base_channels=16",),
    "msg3d": ("model.base_channels=24",),
    "dgstgcn": ("model.base_channels=16",),
    "protogcn": ("model.base_channels=24",),
    "blockgcn": ("model.base_channels=32",),
    "skateformer": (
        "model.stage_channels=[32,64,64,64]",
        "model.window_frames=4",  # clips are shorter than published, too
        *TRANSFORMER,
    ),
}
NETWORKS = GRAPH_NETWORKS | dict.fromkeys(("posec3d", "c3d_light", "x3d_shallow"), HEATMAPS)


def table(given: argparse.Namespace) -> None:
    """Print a table of each split."""
    first = run_folder(given.folder, given.networks[0], given.seeds[0])
    for split in sorted(path.stem for path in (first / "predictions").glob("*.npz")):
        print(f"\n{split}\n| {' | '.join(COLUMNS)} |\n|---|---:|---:|---|---|---|---|")
        right = {}
        for name in given.networks:
            runs = [run_folder(given.folder, name, seed) for seed in given.seeds]
            right[name] = hits(runs, split)
            metrics = [read_metrics(run) for run in runs]
            speed = np.median([one["clips_per_second"] for one in metrics])
            cells = [name, f"{metrics[0]['num_parameters']:,.0f}", f"{speed:.0f}"]
            cells += accuracy_cells(right[name])
            if name == given.networks[0]:
                cells += ["", ""]
            else:
                reference = right[given.networks[0]].mean(axis=0)
                cells += paired_difference(right[name].mean(axis=0), reference)
            print(f"| {' | '.join(cells)} |")


def run_folder(folder: Path, name: str, seed: int) -> Path:
    """Where the run of a network and a seed lies."""
    return folder / f"{name}_seed{seed}"


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=list_of(int), default="1,2,3")
    parser.add_argument("--networks", type=list_of(str), default=",".join(GRAPH_NETWORKS))
    parser.add_argument("--epochs", type=int, default=15)
    given, settings = arguments(parser)
    for seed in given.seeds:
        for name in given.networks:
            epochs = f"task.epochs={given.epochs}", f"task.eval_every={given.epochs}"
            own = f"model={name}", f"seed={seed}", *epochs, *NETWORKS[name]
            train(run_folder(given.folder, name, seed), [*settings, *own])
    print(processor())
    table(given)


if __name__ == "__main__":
    main()
