"""Zero-shot recognition over several choices of unseen classes, beside its baselines.

    python benchmarks/zero_shot.py outputs/zero_shot experiment=uiprmd_zero_shot dataset=uiprmd \\
        dataset.path=uiprmd.pkl --choices uiprmd_8_2_seed1,uiprmd_8_2_seed2,uiprmd_8_2_seed3

Trains `problem=align` once for each choice of `dataset.unseen`, the n-th choice with seed n. The
evaluated epoch is chosen on classes that were trained on. A study that was interrupted continues
where it stopped. Other words are settings of the runs.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from studies import arguments, list_of, paired_difference, spread, train

from flag3d_exp.data.unseen import unseen_classes
from flag3d_exp.devices.processor import processor
from flag3d_exp.problems.align import Align
from flag3d_exp.results.predictions import load_predictions
from flag3d_exp.results.zero_shot import zero_shot_labels

METRICS = ("top1", "top1_harmonic", "top1_zero_shot", "top1_nearest_text", "top1_chance")


def hits(run: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(recordings,) bool each: which ones the network, and the nearest text, recognise."""
    config = OmegaConf.load(run / ".hydra" / "config.yaml")
    classes = list(config.dataset.classes)
    problem = Align(classes, texts=config.problem.texts, parts=config.problem.parts)
    unseen = np.array([classes.index(name) for name in unseen_classes(config.dataset.unseen)])
    kept = load_predictions(run / "predictions" / f"{split}.npz")
    labels = zero_shot_labels(kept.scores, unseen, problem.vectors)
    return labels[0] == kept.labels, labels[1] == kept.labels


def table(runs: list[Path], split: str) -> None:
    """Print the metrics of each run, their means, and the difference from the nearest text."""
    rows = []
    for run in runs:
        found = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        rows.append(
            [found[f"{split}/top1"], *(found[f"{split}_unseen/{name}"] for name in METRICS)]
        )
    print(f"\n| run | seen | {' | '.join(METRICS)} |\n|{'---|' * (len(METRICS) + 2)}")
    for run, row in zip(runs, rows, strict=True):
        print(f"| {run.name} | {' | '.join(f'{value:.1f}' for value in row)} |")
    print(f"| mean | {' | '.join(spread(column) for column in zip(*rows, strict=True))} |")
    right = [hits(run, f"{split}_unseen") for run in runs]
    ones, others = (np.concatenate(one).astype(float) for one in zip(*right, strict=True))
    difference, p_value = paired_difference(ones, others)
    print(f"\nzero-shot minus nearest text, {len(ones)} recordings: {difference}, p {p_value}")


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choices", type=list_of(str), required=True, help="of dataset.unseen")
    parser.add_argument("--split", default="val")
    given, settings = arguments(parser)
    runs = [given.folder / choice for choice in given.choices]
    for seed, (choice, run) in enumerate(zip(given.choices, runs, strict=True), 1):
        train(run, [*settings, f"dataset.unseen={choice}", f"seed={seed}"])
    print(f"\n{processor()}; {' '.join(settings)}")
    table(runs, given.split)


if __name__ == "__main__":
    main()
