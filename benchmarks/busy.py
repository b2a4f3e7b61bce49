"""Speed of a training beside others of the same kind, as a share of its speed alone.

    python benchmarks/busy.py [--others 1] [--rounds 2] [settings, such as model=agcn]

Trainings alone and trainings at the same time take turns. The speed is that of the epochs but the
first and the last, when others may still compile or have ended. With one other training, half of
the machine is a fair share.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from flag3d_exp.devices.processor import processor
from flag3d_exp.runs.run_folder import History

TRAINING = (
    "model=stgcn",
    "device=cpu",
    "dataset.clip_len=100",
    "task.epochs=6",
    "task.eval_every=6",
    "task.batch_size=4",
    "task.limit_batches=25",
    "tracking=none",
)


def speeds(folders: list[Path], settings: list[str]) -> list[float]:
    """Clips per second of trainings that run at the same time, one in each folder."""
    line = [sys.executable, "-m", "flag3d_exp", *TRAINING, *settings]
    processes = [
        subprocess.Popen([*line, f"hydra.run.dir={folder}"], stdout=subprocess.DEVNULL)
        for folder in folders
    ]
    codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit(f"a training ended with exit code {max(codes)}")
    found = []
    for folder in folders:
        _, values = History(folder).series()["clips_per_second"]
        found.append(float(np.median(values[1:-1])))
    return found


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--others", type=int, default=1, help="trainings beside the first")
    parser.add_argument("--rounds", type=int, default=2)
    given, settings = parser.parse_known_args()
    print(processor())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(given.rounds):
            (alone,) = speeds([folder / f"alone{number}"], settings)
            beside = [folder / f"beside{number}_{n}" for n in range(given.others + 1)]
            each = speeds(beside, settings)
            shares = ", ".join(f"{one:.1f} ({100 * one / alone:.0f} %)" for one in each)
            print(f"alone {alone:.1f} clips/s; at the same time {shares}", flush=True)


if __name__ == "__main__":
    main()
