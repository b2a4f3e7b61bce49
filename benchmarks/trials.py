"""Wall time of a sweep whose trials share a process, and of one with a process for each trial.

    python benchmarks/trials.py [--trials 12] [--rounds 1] [task.epochs=2 ...]

Both ways run the same study, `sweep=sgd` on the demo, one trial at a time, and take turns. They
have the same trials: the script checks that they end with the same best trial and value. The time
to the first step is that from drawing a trial to the end of its first update. On a busy machine,
compare the processor time, which is that of all processes of the sweep.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

from flag3d_exp.devices.processor import processor

WAYS = {"one process for all trials": 1000, "a process for each trial": 1}


def measured(folder: Path, runs_per_process: int, arguments: list[str]) -> dict[str, float]:
    """Wall time in seconds, largest memory of a process in GB, and times to the first step."""
    line = [
        *(sys.executable, "-m", "flag3d_exp", "-m", "sweep=sgd", "device=cpu", "task.log_every=1"),
        f"hydra.sweeper.runs_per_process={runs_per_process}",
        *arguments,
    ]
    begin, before = time.perf_counter(), processor_seconds()
    most = 0
    with subprocess.Popen(line, cwd=folder, stdout=subprocess.DEVNULL) as driver:
        while driver.poll() is None:
            most = max(most, largest(driver.pid))
            time.sleep(0.5)
    took = time.perf_counter() - begin
    if driver.returncode:
        sys.exit(f"the sweep ended with exit code {driver.returncode}")
    (study,) = (folder / "multirun").iterdir()
    waits = [wait for trial in study.glob("[0-9]*") if (wait := to_first_step(trial)) is not None]
    found = yaml.safe_load((study / "optimization_results.yaml").read_text(encoding="utf-8"))
    return {
        "wall": took,
        "processor": processor_seconds() - before,
        "memory": most / 1e9,
        "first": max(waits),
        "others": statistics.median(sorted(waits)[:-1]) if len(waits) > 1 else float("nan"),
        "epochs": found["epochs"],
        "best_trial": found["best_trial"],
        "best_value": found["best_value"],
    }


def processor_seconds() -> float:
    """Processor time of all ended descendants of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def largest(driver: int) -> int:
    """Bytes of the largest process that the driver has started."""
    try:
        return max(
            (child.memory_info().rss for child in psutil.Process(driver).children()), default=0
        )
    except psutil.NoSuchProcess:
        return 0


def to_first_step(trial: Path) -> float | None:
    """Seconds from drawing a trial to the end of its first update; None if it made none."""
    history = trial / "history.jsonl"
    if not history.exists():
        return None
    first = json.loads(history.read_text(encoding="utf-8").split("\n")[0])
    return first["timestamp"] / 1e3 - (trial / "trial.json").stat().st_mtime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("overrides", nargs="*", help="further settings of the runs")
    given = parser.parse_args()
    print(f"{processor()}; {given.trials} trials; {' '.join(given.overrides)}", flush=True)
    arguments = [f"hydra.sweeper.n_trials={given.trials}", *given.overrides]
    ratios: dict[str, list[float]] = {"wall": [], "processor": []}
    for _ in range(given.rounds):
        found = {}
        for name, runs_per_process in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                found[name] = one = measured(Path(folder), runs_per_process, arguments)
            print(
                f"{name:28} {one['wall']:7.1f} s, {one['processor']:.1f} s of processors; "
                f"to the first step {one['first']:.1f} s at most, median of the others "
                f"{one['others']:.1f} s; {one['memory']:.2f} GB; {one['epochs']} epochs, best "
                f"{one['best_value']:.2f} in trial {one['best_trial']}",
                flush=True,
            )
        shared, own = found.values()
        if any(shared[key] != own[key] for key in ("epochs", "best_trial", "best_value")):
            sys.exit("the two ways have different results")
        for kind in ratios:
            ratios[kind].append(shared[kind] / own[kind])
    for kind, values in ratios.items():
        print(f"ratio of {kind} times: {statistics.median(values):.2f}")


if __name__ == "__main__":
    main()
