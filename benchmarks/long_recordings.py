"""Long recordings and live frames: time, speed and memory.

    python benchmarks/long_recordings.py [--frames 10000] [--persons 3] [settings]

The demo's recordings, one after another, become a recording of several persons. A network with
random weights (ST-GCN++, windows of 100 frames every 10 frames) predicts it with `task=predict`,
and then frame by frame with `Stream`, for one person and for all.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import flag3d_exp as f3d
from flag3d_exp.benchmark.memory import peak_memory
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.formats.convert import write_annotations
from flag3d_exp.devices.processor import processor

RATE = 30  # frames a second of a camera
WINDOW, HOP = 100, 10
TRAINING = (
    "model=stgcnpp",
    "dataset=demo_out_domain",
    "dataset.num_persons=1",
    "task.epochs=1",
    "task.limit_batches=1",
    "device=cpu",
    "tracking=none",
)


def run(*arguments: str) -> int:
    """Run the program; its peak memory in bytes."""
    line = [sys.executable, "-m", "flag3d_exp", *arguments]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"a run ended with exit code {os.waitstatus_to_exitcode(status)}")
    return used.ru_maxrss * 1024


def long_recording(loaded: f3d.LoadedRun, num_frames: int, num_persons: int) -> Recording:
    """A recording of demo recordings, which begins with another one for each person."""
    recordings = loaded.dataset("val").recordings
    rows = []
    for person in range(num_persons):
        whole = np.concatenate([one.keypoints[0] for one in recordings[person::num_persons]])
        rows.append(np.resize(whole, (num_frames, *whole.shape[1:])) + 400 * person)
    keypoints = np.stack(rows).astype(np.float32)
    scores = np.ones(keypoints.shape[:3], np.float32)
    return Recording("long", 0, keypoints, scores, (2000, 2000))


def stream(loaded: f3d.LoadedRun, recording: Recording) -> tuple[float, int]:
    """Frames per second after the first answer, and the growth of memory after a third, bytes."""
    live = f3d.Stream(loaded, window=WINDOW, hop=HOP, image_shape=recording.image_shape)
    frames, scores = recording.keypoints.swapaxes(0, 1), recording.scores.swapaxes(0, 1)
    start, first, before = 0.0, 0, 0
    for number, (keypoints, seen) in enumerate(zip(frames, scores, strict=True)):
        answers = list(live.push(keypoints, seen))
        if answers and not first and number >= WINDOW:  # compiled by now
            start, first = time.perf_counter(), number
        if number == len(frames) // 3:
            before = peak_memory()
    return (len(frames) - 1 - first) / (time.perf_counter() - start), peak_memory() - before


def main() -> None:
    """Predict, stream and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10000)
    parser.add_argument("--persons", type=int, default=3)
    given, settings = parser.parse_known_args()
    print(processor())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(*TRAINING, *settings, f"hydra.run.dir={folder}/run")
        loaded = f3d.load(folder / "run")
        whole = long_recording(loaded, given.frames, given.persons)
        write_annotations(folder / "long.pkl", {"all": ("long",)}, [whole])
        start = time.perf_counter()
        memory = run(
            *("task=predict", f"task.checkpoint={folder}/run", f"task.input={folder}/long.pkl"),
            *(f"task.window={WINDOW}", f"task.hop={HOP}", "task.count=true", "tracking=none"),
            *("device=cpu", f"hydra.run.dir={folder}/predicted"),
        )
        seconds = time.perf_counter() - start
        print(
            f"task=predict, {given.frames} frames, {given.persons} persons: {seconds:.0f} s, "
            f"{memory / 1e9:.1f} GB",
            flush=True,
        )
        for persons in sorted({1, given.persons}):
            part = long_recording(loaded, given.frames, persons)
            speed, growth = stream(loaded, part)
            print(
                f"Stream, {persons} person(s): {speed:.0f} frames a second, "
                f"{speed / RATE:.1f} times as fast as {RATE}; memory grew by {growth / 1e6:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
