"""The network in the package on real video: accuracy by class; and how it gets into the package.

    python -m flag3d_exp experiment=builtin hydra.run.dir=outputs/builtin
    python -m flag3d_exp task=combine_demo_real task.sources.penn.path=pennaction.pkl \\
        task.sources.repcount.path=repcount.pkl task.output=demo_real.pkl
    python benchmarks/builtin.py outputs/builtin demo_real.pkl
    python benchmarks/builtin.py outputs/builtin --ship

The network knows FLAG3D's 60 actions; the videos show four that some of these actions are kinds of.
A prediction is right if it is one of these kinds. The network is given no list to choose from, so
chance is 1 to 5 of 60. `unknown` is a prediction with a probability below `task.confidence`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

import flag3d_exp as f3d
from flag3d_exp.data.annotations import open_annotations
from flag3d_exp.data.inputs import input_clips
from flag3d_exp.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from flag3d_exp.results.intervals import wilson
from flag3d_exp.results.predictions import CONFIDENCE
from flag3d_exp.runs.references import BUILTIN, find_checkpoint

KINDS = {  # class of `task=combine_demo_real`: FLAG3D's actions of this kind
    "jumping_jacks": ("Jumping Jacks", "Clap Jacks"),
    "push_up": ("Push-ups", "Kneeling Push-ups", "Breaststroke Push-ups"),
    "sit_up": ("Sit-ups", "Half Roll Back"),
    "squat": (
        "Squat With Arm Lift",
        "Sumo Squat",
        "Squat Jump",
        "Squat With Alternate Knee Lift",
    ),
}


def report(run: str, data: Path, splits: list[str]) -> None:
    """Print the accuracy for each split and class."""
    loaded = f3d.load(run)
    made = loaded.experiment.build
    annotations = open_annotations(data)
    for split in splits:
        recordings = [replace(one, scores=None) for one in annotations.recordings(split)]
        clips = input_clips(
            recordings, made("dataset"), made("pipeline"), made("stream"), loaded.experiment.seed
        )
        scores = loaded.predict(clips)
        labels = np.array([one.label for one in recordings])
        print(f"{split}: kinds known to the network, right | right if not unknown | unknown")
        right, known = np.zeros(len(labels), bool), scores.max(1) >= CONFIDENCE
        for label, (name, kinds) in enumerate(KINDS.items()):
            numbers = [loaded.classes.index(kind) for kind in kinds]
            ours = labels == label
            right |= ours & np.isin(scores.argmax(1), numbers)
            _print(name, right[ours], known[ours])
            wrong = scores.argmax(1)[ours & ~right]
            often = np.bincount(wrong, minlength=len(loaded.classes)).argsort()[::-1][:3]
            print("      else mostly:", ", ".join(loaded.classes[one] for one in often))
        _print("all", right, known)


def _print(name: str, right: np.ndarray, known: np.ndarray) -> None:
    share = wilson(int(right.sum()), len(right))
    sure = 100 * right[known].mean() if known.any() else float("nan")
    print(
        f"  {name} ({len(right)}): {100 * share.value:.1f} "
        f"[{100 * share.low:.1f}, {100 * share.high:.1f}] % | {sure:.1f} % | "
        f"{100 * (~known).mean():.1f} %"
    )


def ship(run: str) -> None:
    """Write the best weights of a run, without the optimizer's state, to the package."""
    checkpoint = load_checkpoint(find_checkpoint(run, "run"))
    known = ("config", "choices", "data", "scored")
    meta = {key: checkpoint.meta[key] for key in known if key in checkpoint.meta}
    config = yaml.safe_load(meta["config"])
    for group in ("device", "tracking"):  # of the machine that trained it
        del config[group]
    meta["config"] = yaml.safe_dump(config, sort_keys=False)
    save_checkpoint(BUILTIN, Checkpoint(checkpoint.ema or checkpoint.weights, meta=meta))
    print(f"{BUILTIN}: {BUILTIN.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run folder, checkpoint or `builtin`")
    parser.add_argument("data", type=Path, nargs="?", help="file of `task=combine_demo_real`")
    parser.add_argument("--splits", nargs="+", default=["penn_val", "repcount_val"])
    parser.add_argument("--ship", action="store_true", help="write the weights to the package")
    given = parser.parse_args()
    if given.data is not None:
        report(given.run, given.data, given.splits)
    if given.ship:
        ship(given.run)


if __name__ == "__main__":
    main()
