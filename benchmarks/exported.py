"""Exported files beside their checkpoint: time of inference, and of requests to the server.

    python benchmarks/exported.py [--rounds 9] [--requests 50] [settings, such as model=ctrgcn]

A network with random weights is exported as ONNX and as both kinds of MindIR. The files and the
checkpoint have a process each, and take turns of one second; a ratio is the median over the turns.
Then MLflow serves the ONNX file on this machine, and one client sends requests one after the other.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from flag3d_exp.devices.processor import processor
from flag3d_exp.export.file import open_file

TRAINING = ("device=cpu", "dataset.clip_len=100", "task.epochs=1", "task.limit_batches=1")
FILES = {
    "ONNX": ("task.format=onnx",),
    "MindIR, `optimised_for=cpu`": ("task.format=mindir", "task.optimised_for=cpu"),
    "MindIR": ("task.format=mindir",),
}
SLOW = "MindIR"  # takes seconds for a clip, and so is timed with single clips only
BATCHES = (1, 16)
MODEL, PORT = "exported", 5077


def run(folder: Path, *arguments: str) -> None:
    """Run the program in `folder`."""
    line = [sys.executable, "-m", "flag3d_exp", *arguments]
    subprocess.run(line, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def compute(path: str, batch: int, shape: list[int]) -> None:
    """Compute clips of a shape with a checkpoint or a file: a turn for each line of stdin."""
    from flag3d_exp import load
    from flag3d_exp.benchmark.worker import turn
    from flag3d_exp.engine.predict import Predictor

    made = Path(path)
    logits = Predictor(load(path).model, jit=True) if made.is_dir() else open_file(made).logits
    clips = np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
    for _ in range(3):
        logits(clips)
    for _ in sys.stdin:
        print(json.dumps(turn(lambda: logits(clips))), flush=True)


def in_turns(
    paths: dict[str, Path], batch: int, shape: list[int], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each turn, by the name of the path."""
    processes = {}
    for name, path in paths.items():
        line = [sys.executable, __file__, "--compute", str(path), str(batch), json.dumps(shape)]
        processes[name] = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    times: dict[str, list[float]] = {name: [] for name in paths}
    for number in range(rounds + 1):
        for name, process in processes.items():
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("turn\n")
            process.stdin.flush()
            seconds = json.loads(process.stdout.readline())
            if number:  # in the first round, others may still be starting
                times[name].append(seconds)
    for process in processes.values():
        process.communicate()
    return times


@contextmanager
def served(folder: Path, uri: str):
    """The address of the model that MLflow serves."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    line = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri]
    line += ["--env-manager", "local", "--port", str(PORT)]
    with subprocess.Popen(
        line, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            for _ in range(120):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/ping", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{PORT}/invocations"
        finally:
            server.terminate()


def seconds_of_requests(address: str, body: bytes, count: int) -> list[float]:
    """The time until the whole answer, of each request."""
    times = []
    for _ in range(count + 2):
        asked = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        begin = time.perf_counter()
        with urllib.request.urlopen(asked, timeout=120) as answer:
            answer.read()
        times.append(time.perf_counter() - begin)
    return times[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each file")
    parser.add_argument("--requests", type=int, default=50, help="of each size")
    given, settings = parser.parse_known_args()
    print(processor())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, *TRAINING, "model=stgcn", *settings, "hydra.run.dir=run")
        paths = {"checkpoint": folder / "run"}
        for number, (kind, how) in enumerate(FILES.items(), 1):
            to = (f"task.register={MODEL}", f"hydra.run.dir=file{number}")
            run(folder, "task=export", "task.checkpoint=run", *how, *to)
            (paths[kind],) = (folder / f"file{number}").glob("model.*")
        example = json.loads((folder / "file1" / "request.json").read_text())["inputs"]
        shape = open_file(paths["ONNX"]).facts["clip_shape"]
        print("\n| | clips | ms | ratio to the checkpoint |\n|---|---:|---:|---:|")
        for batch in BATCHES:
            chosen = {kind: path for kind, path in paths.items() if batch == 1 or kind != SLOW}
            times = in_turns(chosen, batch, shape, given.rounds)
            for kind, seconds in times.items():
                ratio = np.median(np.divide(seconds, times["checkpoint"]))
                print(f"| {kind} | {batch} | {1e3 * np.median(seconds):.0f} | {ratio:.2f} |")
        print("\n| recordings in a request | p50, ms | p95, ms |\n|---:|---:|---:|")
        with served(folder, f"models:/{MODEL}/1") as address:  # the ONNX file
            for count in (1, 32):
                body = json.dumps({"inputs": example * count}).encode()
                seconds = 1e3 * np.array(seconds_of_requests(address, body, given.requests))
                middle, high = np.percentile(seconds, [50, 95])
                print(f"| {count} | {middle:.0f} | {high:.0f} |")


if __name__ == "__main__":
    if "--compute" in sys.argv[1:2]:
        compute(sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
    else:
        main()
