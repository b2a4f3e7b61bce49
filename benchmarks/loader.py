"""Training clips per second by family and number of workers, and the cost of drawing heatmaps.

    python benchmarks/loader.py [--seconds 3]

The recordings are random, with the lengths of FLAG3D and NTU RGB+D. The last line compares the
host's work for a PoseC3D clip here (joints in pixels; the network draws the heatmaps) with the same
work plus heatmaps drawn joint by joint on the host, as PyTorch frameworks do. That is a plain loop
written for this comparison, not their code.
"""

import argparse
import os
import time

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.affine import Affine
from flag3d_exp.data.augment.camera import VirtualCameras
from flag3d_exp.data.augment.drop import DropStretch
from flag3d_exp.data.augment.mirror import Mirror
from flag3d_exp.data.augment.noise import DetectorNoise
from flag3d_exp.data.augment.recipe import Recipe, recipe
from flag3d_exp.data.augment.turn import Turn
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.loader import batches, training_shares
from flag3d_exp.data.pipeline import GraphPipeline, HeatmapPipeline
from flag3d_exp.data.transforms import Stream

BATCH_SIZE = 32
STRONG = recipe([Affine(rotation=0.3, scale=0.1)])
MIRRORED = recipe([Affine(rotation=0.3, scale=0.1), Mirror(0.5)])
NOISY = recipe([DetectorNoise(0.5), Affine(0.5, 0.2, 0.3), DropStretch(0.5)])  # augment=domain
FILMED = recipe([VirtualCameras("nturgb+d", "coco"), DetectorNoise(0.8)])  # augment=camera
TURNED = recipe([Turn(0.5)])
JOINT = Stream("joint")


def recordings(
    num_joints: int, num_coordinates: int, num_persons: int = 1, mean_length: float = 819
) -> list[Recording]:
    """200 recordings of different lengths; two coordinates are in pixels."""
    rng = np.random.default_rng(0)
    lengths = (mean_length * np.clip(rng.normal(1, 0.43, 200), 0.37, 3.8)).astype(int)
    made = []
    for number, length in enumerate(lengths):
        shape = (num_persons, length, num_joints)
        if num_coordinates == 2:
            keypoints = rng.uniform(100, 400, (*shape, 2)).astype(np.float16)
            scores = rng.uniform(0, 1, shape).astype(np.float16)
            made.append(Recording(f"r{number}", 0, keypoints, scores, (480, 854)))
        else:
            keypoints = rng.normal(size=(*shape, 3)).astype(np.float32)
            made.append(Recording(f"r{number}", 0, keypoints))
    return made


def families() -> dict[str, ClipDataset]:
    solid, flat, pairs = recordings(25, 3), recordings(17, 2), recordings(25, 3, 2, mean_length=80)
    image = {"normalise": "image", "score_threshold": 0.01, "score_channel": True}
    made = {
        "3D graph, FLAG3D: 500 frames": (solid, GraphPipeline("nturgb+d", clip_len=500)),
        "3D graph, NTU: 100 frames, 2 persons, body, augmented": (
            pairs,
            GraphPipeline("nturgb+d", num_persons=2, normalise="body", clip_len=100),
            STRONG,
        ),
        "2D graph, FLAG3D: 500 frames": (flat, GraphPipeline("coco", clip_len=500, **image)),
        "2D graph: 100 frames, augmented": (
            flat,
            GraphPipeline("coco", clip_len=100, **image),
            MIRRORED,
        ),
        "PoseC3D: 48 frames": (flat, HeatmapPipeline("coco")),
        "2D graph: 100 frames, augment=domain": (
            flat,
            GraphPipeline("coco", clip_len=100, **image),
            NOISY,
        ),
        "2D graph: 100 frames, turned": (
            flat,
            GraphPipeline("coco", clip_len=100, **image),
            TURNED,
        ),
        "3D seen by cameras: 100 frames": (
            solid,
            GraphPipeline("coco", clip_len=100, normalise="box", score_channel=True),
            FILMED,
        ),
        "3D seen by cameras: PoseC3D, 48 frames": (solid, HeatmapPipeline("coco"), FILMED),
    }
    return {
        name: ClipDataset(
            members, pipeline, JOINT, training=True, augment=augment[0] if augment else Recipe()
        )
        for name, (members, pipeline, *augment) in made.items()
    }


def clips_per_second(dataset: ClipDataset, num_workers: int, seconds: float) -> float:
    """The rate over whole epochs of at least `seconds` in total, after a warm-up epoch."""
    count, epoch, spent = 0, 0, 0.0
    while spent < seconds:
        order = training_shares(len(dataset), BATCH_SIZE, 0, epoch).ravel()
        order = np.tile(order, 5)
        begin = time.perf_counter()
        found = sum(len(b.labels) for b in batches(dataset, order, BATCH_SIZE, num_workers))
        if epoch:
            count, spent = count + found, spent + time.perf_counter() - begin
        epoch += 1
    return count / spent


def heatmaps(clip: np.ndarray, size: int, sigma: float = 0.6) -> np.ndarray:
    """(T, V, size, size) float32 of a clip (M, T, V, 3), window by window."""
    num_persons, num_frames, num_joints, _ = clip.shape
    volume = np.zeros((num_frames, num_joints, size, size), np.float32)
    for frame in range(num_frames):
        for joint in range(num_joints):
            for person in range(num_persons):
                x, y, score = clip[person, frame, joint]
                left, right = max(int(x - 3 * sigma), 0), min(int(x + 3 * sigma) + 1, size)
                top, bottom = max(int(y - 3 * sigma), 0), min(int(y + 3 * sigma) + 1, size)
                if left >= right or top >= bottom or score < 1e-3:
                    continue
                columns = np.arange(left, right, dtype=np.float32)
                rows = np.arange(top, bottom, dtype=np.float32)[:, None]
                squares = (columns - x) ** 2 + (rows - y) ** 2
                window = volume[frame, joint, top:bottom, left:right]
                np.maximum(window, np.exp(-squares / (2 * sigma**2)) * score, out=window)
    return volume


def milliseconds(function, repeats: int) -> float:
    """The median time of a call."""
    times = []
    for number in range(repeats):
        begin = time.perf_counter()
        function(number)
        times.append(time.perf_counter() - begin)
    return float(np.median(times)) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3, help="of measuring, for each figure")
    seconds = parser.parse_args().seconds
    processors = os.cpu_count() or 1
    made = families()
    print(f"clips/s on {processors} processors; more workers than those are not started")
    print(f"{'':54} {'1':>8} {'2':>8} {'4 workers':>10}")
    for name, dataset in made.items():
        rates = [clips_per_second(dataset, workers, seconds) for workers in (1, 2, 4)]
        print(f"{name:54} {rates[0]:8.0f} {rates[1]:8.0f} {rates[2]:10.0f}")
    posec3d = made["PoseC3D: 48 frames"]
    ours = milliseconds(lambda number: posec3d.clips(number % len(posec3d)), 500)

    def drawn(number: int) -> np.ndarray:
        return heatmaps(posec3d.clips(number % len(posec3d))[0], 56)

    theirs = milliseconds(drawn, 20)
    print(
        f"PoseC3D, one clip on the host: {ours:.3f} ms; with heatmaps drawn there {theirs:.1f} ms, "
        f"{theirs / ours:.0f} times as much"
    )


if __name__ == "__main__":
    main()
