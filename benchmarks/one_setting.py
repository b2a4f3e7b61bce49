"""Trainings with a setting, against those without it: accuracy of each split, with a paired test.

    python benchmarks/one_setting.py outputs/tf32 device.tf32=true -- experiment=uiprmd_stgcn \\
        dataset.path=uiprmd.pkl

The differences are over recordings, of the mean of the seeds. A study that was interrupted
continues where it stopped. Words behind `--` are settings of all runs.
"""

import argparse
from pathlib import Path

from studies import accuracy_cells, hits, list_of, paired_difference, train

from flag3d_exp.devices.processor import processor

WITHOUT, WITH = "without", "with"


def main() -> None:
    """Train and print a table of each split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for the runs")
    parser.add_argument("setting", help="for example device.tf32=true")
    parser.add_argument("settings", nargs="*", help="of all runs, behind --")
    parser.add_argument("--seeds", type=list_of(int), default="1,2,3")
    given = parser.parse_args()
    runs = {
        kind: [given.folder / f"{kind}_seed{seed}" for seed in given.seeds]
        for kind in (WITHOUT, WITH)
    }
    for seed, *pair in zip(given.seeds, runs[WITHOUT], runs[WITH], strict=True):
        for folder, own in zip(pair, ([], [given.setting]), strict=True):
            train(folder, [*given.settings, *own, f"seed={seed}"])
    print(processor())
    for split in sorted(path.stem for path in (runs[WITHOUT][0] / "predictions").glob("*.npz")):
        print(f"\n{split}\n| runs | top-1 of seeds | mean ± spread | difference | p |")
        print("|---|---|---|---|---|")
        right = {kind: hits(folders, split) for kind, folders in runs.items()}
        reference = right[WITHOUT].mean(axis=0)
        print(f"| without | {' | '.join(accuracy_cells(right[WITHOUT]))} | | |")
        cells = accuracy_cells(right[WITH]) + paired_difference(right[WITH].mean(axis=0), reference)
        print(f"| {given.setting} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
