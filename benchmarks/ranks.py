"""The epoch time of two ranks compared with one process, on the CPU.

    python benchmarks/ranks.py [--rounds 3]

The same updates run in three ways, in turns: one process on one core, one process on two cores, and
two ranks under msrun with a core and half the batch each. A figure is the median training rate of a
run's epochs, without the first epoch, which compiles.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RUN = (
    "device=cpu",
    "device.jit=true",
    "dataset.clip_len=64",
    "task.epochs=4",
    "task.limit_batches=20",
    "tracking=none",
)
BATCH_SIZE = 16
PROGRAM = ("python", "-m", "flag3d_exp")
MSRUN = (
    "msrun",
    "--worker_num=2",
    "--local_worker_num=2",
    "--join=True",
    '--bind_core={"device0":["0-0"],"device1":["1-1"]}',
)
WAYS = {
    "one process, one core": (("taskset", "-c", "0", *PROGRAM), 1),
    "one process, two cores": (("taskset", "-c", "0,1", *PROGRAM), 1),
    "two ranks, a core each": (MSRUN, 2),
}


def clips_per_second(folder: Path, program: tuple[str, ...], world: int) -> float:
    """The rate of all ranks together, as reported by the run."""
    run = folder / f"run-{time.monotonic_ns()}"
    if program is MSRUN:
        program = (*MSRUN, f"--log_dir={run}-logs", *PROGRAM)
    arguments = (*RUN, f"task.batch_size={BATCH_SIZE // world}", f"hydra.run.dir={run}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        (*program, *arguments),
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        check=True,
    )
    reports = map(json.loads, (run / "history.jsonl").read_text(encoding="utf-8").splitlines())
    rates = [report["metrics"].get("clips_per_second") for report in reports]
    return float(np.median([rate for rate in rates if rate][1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    rounds = parser.parse_args().rounds
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(rounds):
            for way, (program, world) in WAYS.items():
                rates[way].append(clips_per_second(Path(name), program, world))
    first = next(iter(rates.values()))
    for way, found in rates.items():
        ratio = np.median(np.array(found) / np.array(first))
        print(
            f"{way:24} {np.median(found):7.1f} clips/s ({min(found):.1f} to {max(found):.1f}), "
            f"{ratio:.2f} times one core"
        )


if __name__ == "__main__":
    main()
