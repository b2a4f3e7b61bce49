"""Timelines of recordings of several actions: frame accuracy, edit score and F1 of a checkpoint.

    python benchmarks/timelines.py outputs/uiprmd uiprmd.pkl vicon_val task.window=64

joins the recordings of a split, ten of a person at a time and in random order, to sequences whose
classes over time are known, and evaluates the checkpoint's timelines of them. Where persons are not
known, any ten recordings are joined. A rest of fewer than ten is left out. Further words are
settings of `task=evaluate`.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import flag3d_exp as f3d
from flag3d_exp.data.annotations import Recording, open_annotations
from flag3d_exp.data.formats.convert import write_annotations
from flag3d_exp.data.joined import joined_recording

NUMBER = 10  # recordings of a sequence


def sequences(
    recordings: Sequence[Recording], center: int, rng: np.random.Generator
) -> tuple[list[Recording], list[tuple[str, int, int, int]]]:
    """Joined recordings, and the name, first frame, last frame and label of each part."""
    persons: dict[str | None, list[Recording]] = {}
    for one in recordings:
        persons.setdefault(one.subject, []).append(one)
    made, parts = [], []
    for members in persons.values():
        order = [members[index] for index in rng.permutation(len(members))]
        for first in range(0, len(order) - NUMBER + 1, NUMBER):
            ten = order[first : first + NUMBER]
            whole = joined_recording(ten, center)
            name = f"sequence_{len(made):03d}"
            spans = zip(ten, whole.repetitions, strict=True)
            parts += [(name, int(start), int(stop), one.label) for one, (start, stop) in spans]
            made.append(replace(whole, name=name, repetitions=None))
    return made, parts


def main() -> None:
    """Join, write the files and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run folder or checkpoint of problem=classify")
    parser.add_argument("data", type=Path, help="annotation file")
    parser.add_argument("split", help="a split of the file that the run was not trained on")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the recordings")
    parser.add_argument("--folder", type=Path, default=Path("outputs/timelines"))
    given, settings = parser.parse_known_args()
    loaded = f3d.load(given.run)
    skeleton = loaded.experiment.build("pipeline").skeleton
    recordings = open_annotations(given.data).recordings(given.split)
    made, parts = sequences(recordings, skeleton.center, np.random.default_rng(given.seed))
    given.folder.mkdir(parents=True, exist_ok=True)
    path, truth = given.folder / "joined.pkl", given.folder / "truth.csv"
    write_annotations(path, {"joined": tuple(one.name for one in made)}, made)
    with truth.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["name", "person", "first", "last", "class"])
        table.writerows((name, 0, *span, loaded.classes[label]) for name, *span, label in parts)
    command = [
        *(sys.executable, "-m", "flag3d_exp", "task=evaluate", f"task.checkpoint={given.run}"),
        *(f"task.input={path}", f"task.truth={truth}", f"hydra.run.dir={given.folder}/run"),
        *("tracking=none", *settings),
    ]
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
