"""What the scripts share that train with several seeds and compare."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.results.intervals import mean_difference
from flag3d_exp.results.predictions import load_predictions, paired_predictions
from flag3d_exp.results.seeds import p_text

RESAMPLES = 9999


def train(folder: Path, settings: Sequence[str]) -> None:
    """A training in `folder`, or the rest of it if it was interrupted; nothing if it has ended."""
    if (folder / "metrics.json").exists():
        return
    run(folder, [*settings, "task.resume=auto"])


def run(folder: Path, settings: Sequence[str]) -> None:
    """Run the program in `folder`."""
    line = [sys.executable, "-m", "flag3d_exp", *settings, f"hydra.run.dir={folder}"]
    subprocess.run([*line, "tracking=none"], check=True)


def hits(runs: Sequence[Path], split: str) -> np.ndarray:
    """(runs, recordings) bool: which recordings are classified correctly."""
    found = {str(run): load_predictions(run / "predictions" / f"{split}.npz") for run in runs}
    return np.stack([one.right for one in paired_predictions(found, split).values()])


def accuracy_cells(matrix: np.ndarray) -> list[str]:
    """Top-1 of each run in percent, and their `spread`.

    Args:
        matrix: see `hits`.
    """
    each = (100 * matrix.mean(axis=1)).tolist()
    return [", ".join(f"{one:.1f}" for one in each), spread(each)]


def run_folder(folder: Path, seed: int, share: float, way: str) -> Path:
    """Where the run of one seed, share of the recordings and way to train lies."""
    return folder / f"seed{seed}_{share:g}_{way}"


def epochs(number: int) -> list[str]:
    """Settings: so many epochs, and one evaluation after the last."""
    return [f"task.epochs={number}", f"task.eval_every={number}"]


def paired_difference(ones: np.ndarray, others: np.ndarray) -> list[str]:
    """The mean difference in points with its interval, and p of a paired permutation test.

    Both are over recordings.

    Args:
        ones, others: (recordings,) the share of runs that classify each correctly.
    """
    from scipy import stats

    differences = ones - others
    if not differences.any():
        return ["0.0", p_text(1.0)]
    found = mean_difference(ones, others)
    rng = np.random.default_rng(0)
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=rng
    )
    text = f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return [text, p_text(float(test.pvalue))]


def list_of(kind: Callable[[str], Any]) -> Callable[[str], list]:
    """A parser of values that are separated by commas."""
    return lambda text: [kind(one) for one in text.split(",")]


def spread(values: Sequence[float]) -> str:
    """`mean ± standard deviation`; the value alone if there is one."""
    middle = f"{np.mean(values):.1f}"
    return f"{middle} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else middle


def arguments(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """The script's own arguments, and the settings of its runs."""
    parser.add_argument("folder", type=Path, help="for the runs")
    return parser.parse_known_args()
