"""Time and memory for a synthetic file of the size and shape of FLAG3D's `flag2d.pkl`.

    python benchmarks/large_file.py [--recordings 28800] [--folder DIR]

The file (about 2.4 GB) and its converted form are made in a temporary folder and removed. Each step
runs in its own process. `own memory` is the peak of the process's private memory. `mapped pages`
are pages of the files, which the system can reclaim whenever memory is needed.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.source import Dataset, build
from flag3d_exp.data.transforms import Stream

TRAIN_SHARE = 0.75


def make(path: Path, num_recordings: int) -> None:
    """Recordings of 146 to 7650 frames, 819 on average, 17 joints in half precision with scores."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(6.62, 0.42, num_recordings), 146, 7650).astype(int)
    noise = rng.uniform(0, 480, (1, lengths.max(), 17, 2)).astype(np.float16)
    scores = rng.uniform(0, 1, (1, lengths.max(), 17)).astype(np.float16)
    names = [f"S001C001M001P{n:06}A{n % 60 + 1:03}R001" for n in range(num_recordings)]
    annotations = [
        {
            "frame_dir": name,
            "label": number % 60,
            "img_shape": (480, 854),
            "original_shape": (480, 854),
            "total_frames": int(length),
            "keypoint": noise[:, :length],
            "keypoint_score": scores[:, :length],
        }
        for number, (name, length) in enumerate(zip(names, lengths, strict=True))
    ]
    num_train = int(num_recordings * TRAIN_SHARE)
    content = {
        "split": {"train": names[:num_train], "val": names[num_train:]},
        "annotations": annotations,
    }
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=4)


def opened(path: str, cache: str | None) -> dict[str, ClipDataset]:
    settings = Dataset(
        "large",
        path,
        "coco",
        60,
        {"train": "train", "val": "val"},
        score_channel=True,
        cache=cache,
    )
    pipeline = GraphPipeline("coco", normalise="image", score_channel=True, clip_len=500)
    return build(settings, pipeline, Stream("joint"), seed=0)


def read_epoch(path: str, cache: str | None) -> None:
    """Every training clip once, in batches of 64, in random order."""
    train = opened(path, cache)["train"]
    order = np.random.default_rng(0).permutation(len(train))
    for begin in range(0, len(order), 64):
        np.stack([train.clips(int(index), 0) for index in order[begin : begin + 64]])


class Peak:
    """The largest memory of this process by kind, sampled while it works; megabytes."""

    def __init__(self) -> None:
        self.own = self.mapped = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self) -> None:
        while not self.over.wait(0.01):
            status = Path("/proc/self/status").read_text(encoding="ascii").split("\n")
            sizes = {line.split(":")[0]: line.split()[1] for line in status if "Rss" in line}
            self.own = max(self.own, int(sizes["RssAnon"]) // 1024)
            self.mapped = max(self.mapped, int(sizes["RssFile"]) // 1024)

    def __enter__(self) -> "Peak":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()


STEPS = {"first start": opened, "later start": opened, "an epoch's clips": read_epoch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recordings", type=int, default=28_800)
    parser.add_argument("--folder", default=None, help="where there is room for 5 GB")
    parser.add_argument("--step", choices=STEPS, help="used by the script itself")
    arguments = parser.parse_args()
    if arguments.step is not None:
        path, cache = os.environ["LARGE_FILE"], os.environ["LARGE_CACHE"]
        begin = time.perf_counter()
        with Peak() as peak:
            STEPS[arguments.step](path, cache)
        seconds = time.perf_counter() - begin
        print(
            f"{arguments.step:18} {seconds:7.2f} s, own memory {peak.own:5} MB, "
            f"mapped pages {peak.mapped:5} MB"
        )
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder, "large.pkl")
        make(path, arguments.recordings)
        print(f"{arguments.recordings} recordings, {path.stat().st_size / 1e9:.2f} GB")
        environment = os.environ | {"LARGE_FILE": str(path), "LARGE_CACHE": str(Path(folder, "c"))}
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step]
            subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
