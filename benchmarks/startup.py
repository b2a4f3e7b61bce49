"""Time until help, a refusal, a prediction and the first training step; and the cost of tracking.

    python benchmarks/startup.py [--rounds 3]

Every figure is the median over rounds, each in a new process, as a user starts it. The cost of
tracking is the processor time of the delivery thread, as a share of the time between the ends of
epochs; it cannot take more than this from training. Epochs with and without tracking take turns; on
a busy machine their difference is smaller than their spread. The limits are the project's own.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TRAIN = (
    "device=cpu",
    "model=stgcn",
    "dataset.clip_len=100",
    "task.batch_size=4",
)
# An epoch of a small network, the worst case for data that are sent once per epoch.
EPOCHS = ("device=cpu", "task.epochs=6", "task.limit_batches=40")


def run_timed(target: Path, words: list[str]) -> None:
    """Run the program; at the end, write when each delivery ended and its processor seconds."""
    from flag3d_exp import main as program
    from flag3d_exp.runs.delivery import Delivery

    deliver, spent = Delivery._try, []

    def timed(delivery, lane):
        begin = time.thread_time()
        deliver(delivery, lane)
        spent.append([time.time(), time.thread_time() - begin])

    Delivery._try = timed
    sys.argv[1:] = words
    try:
        program.main()
    finally:
        target.write_text(json.dumps(spent))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flag3d_exp", *arguments]


def to_the_end(folder: Path, *arguments: str, refused: bool = False) -> float:
    """Seconds until the program has ended, as it must: with or without an error."""
    begin = time.perf_counter()
    done = subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True)
    if (done.returncode != 0) != refused:
        sys.exit(f"`{' '.join(arguments)}` ended with exit code {done.returncode}: {done.stderr}")
    return time.perf_counter() - begin


def to_the_first_step(folder: Path) -> float:
    """Seconds from the command to the end of the first update, including compilation."""
    run = folder / f"run-{time.monotonic_ns()}"
    begin = time.perf_counter()
    arguments = (*TRAIN, "task.log_every=1", f"hydra.run.dir={run}")
    with subprocess.Popen(
        command(*arguments), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not (run / "history.jsonl").exists() and process.poll() is None:
            time.sleep(0.02)
        took = time.perf_counter() - begin
        process.kill()
    if not (run / "history.jsonl").exists():
        sys.exit("the training run ended before its first step")
    return took


def predict(folder: Path) -> tuple[str, ...]:
    """The command line that predicts one recording, with the network in the package."""
    poses = folder / "poses.npy"
    if not poses.exists():
        rng = np.random.default_rng(0)
        np.save(poses, rng.uniform(0, 400, (100, 17, 3)).astype(np.float32))  # pixels, scores
    run = folder / f"predicted-{time.monotonic_ns()}"
    return (
        "task=predict",
        "task.checkpoint=builtin",
        f"task.input={poses}",
        "task.layout=coco",
        "task.image_shape=[480,640]",
        "task.unit=pixels",
        "device=cpu",
        "tracking=none",
        f"hydra.run.dir={run}",
    )


def epoch_seconds(folder: Path, tracking: str) -> tuple[float, float]:
    """The median time between the ends of a run's epochs, and tracking's share of it."""
    run, spent = (folder / f"{name}-{time.monotonic_ns()}" for name in ("run", "spent"))
    arguments = (*EPOCHS, f"tracking={tracking}", f"hydra.run.dir={run}")
    driver = [sys.executable, __file__, "--timed", str(spent), *arguments]
    subprocess.run(driver, cwd=folder, capture_output=True, check=True)
    history = (run / "history.jsonl").read_text(encoding="utf-8")
    ends = [int(t) / 1e3 for t in re.findall(r'"timestamp": (\d+).*?"val/top1"', history)]
    deliveries = json.loads(spent.read_text(encoding="utf-8"))
    taken = sum(seconds for when, seconds in deliveries if ends[0] < when <= ends[-1])
    return float(np.median(np.diff(ends))), taken / (ends[-1] - ends[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes for each figure")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        to_the_end(folder, "--help")  # reads the files from disk once
        figures = {
            "--help": (2, [to_the_end(folder, "--help") for _ in range(rounds)]),
            "a refused configuration": (
                2,
                [to_the_end(folder, "model=stgnc", refused=True) for _ in range(rounds)],
            ),
            "a refused value": (
                2,
                [to_the_end(folder, "task.epochs=many", refused=True) for _ in range(rounds)],
            ),
            "a missing file": (
                1,
                [
                    to_the_end(folder, "dataset=uiprmd", "dataset.path=no.pkl", refused=True)
                    for _ in range(rounds)
                ],
            ),
            "a missing device": (
                1,
                [to_the_end(folder, "device=ascend", refused=True) for _ in range(rounds)],
            ),
            "a prediction for one recording": (
                5,
                [to_the_end(folder, *predict(folder)) for _ in range(rounds)],
            ),
            "the first training step of ST-GCN": (
                20,
                [to_the_first_step(folder) for _ in range(rounds)],
            ),
        }
        for what, (limit, times) in figures.items():
            print(
                f"{what:36} {np.median(times):6.2f} s ({min(times):.2f} to {max(times):.2f}; "
                f"limit {limit} s)",
                flush=True,
            )
        with_tracking, without = zip(
            *(
                (epoch_seconds(folder, "mlflow"), epoch_seconds(folder, "none"))
                for _ in range(rounds)
            ),
            strict=True,
        )
        shares = [100 * share for _, share in with_tracking]
        extra = [100 * (a / b - 1) for (a, _), (b, _) in zip(with_tracking, without, strict=True)]
        print(
            f"{'tracking, of an epoch':36} {np.median(shares):6.2f} % ({min(shares):.2f} to "
            f"{max(shares):.2f}; limit 2 %) of {np.median([a for a, _ in with_tracking]):.2f} s; "
            f"by the clock {np.median(extra):.1f} % ({min(extra):.1f} to {max(extra):.1f})"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--timed"]:
        run_timed(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
