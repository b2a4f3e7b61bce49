"""What pre-training without labels gives: accuracy at several shares of the labels.

    python benchmarks/pretraining.py outputs/pretraining experiment=uiprmd_stgcn \\
        dataset.path=uiprmd.pkl

For each seed, `problem=reconstruct` trains the backbone on the whole train split, for twice the
epochs. Then a backbone with these weights (`task.init_from`) and one from scratch are trained on
each share of the labels. A small share is repeated within an epoch, so that every run has at least
half of the updates of a run on all labels. The only evaluation is after the last epoch: nothing is
chosen on the splits that are reported. A study that was interrupted continues where it stopped.
Words after the folder are settings of the runs.
"""

import argparse
from collections.abc import Sequence

from studies import (
    accuracy_cells,
    arguments,
    epochs,
    hits,
    list_of,
    paired_difference,
    run_folder,
    train,
)

from flag3d_exp.devices.processor import processor

SCRATCH, PRETRAINED, PROBED = "scratch", "pretrained", "probed"


def study(given: argparse.Namespace, settings: Sequence[str], seed: int) -> None:
    """The runs of one seed that have not ended."""
    pretrained = given.folder / f"seed{seed}_reconstruct"
    common = [*settings, f"seed={seed}"]
    train(pretrained, [*common, "problem=reconstruct", *epochs(2 * given.epochs)])
    for share in given.shares:
        few = [f"dataset.train_share={share}", f"task.repeat={max(1, round(0.5 / share))}"]
        for way in given.ways:
            added = [] if way == SCRATCH else [f"task.init_from={pretrained}"]
            added += ["task.freeze_backbone=true"] if way == PROBED else []
            train(
                run_folder(given.folder, seed, share, way),
                [*common, *few, *epochs(given.epochs), *added],
            )


def table(given: argparse.Namespace) -> None:
    """Print the accuracies of each split and share, and the differences from scratch."""
    first = run_folder(given.folder, given.seeds[0], given.shares[0], given.ways[0])
    for split in sorted(path.stem for path in (first / "predictions").glob("*.npz")):
        print(f"\n{split}\n| labels | way | top-1 of seeds | mean ± spread | difference | p |")
        print("|---|---|---|---|---|---|")
        for share in given.shares:
            right = {}
            for way in given.ways:
                runs = [run_folder(given.folder, seed, share, way) for seed in given.seeds]
                right[way] = hits(runs, split)
            for way, matrix in right.items():
                cells = [f"{share:.0%}", way, *accuracy_cells(matrix)]
                if way != SCRATCH and SCRATCH in right:
                    cells += paired_difference(matrix.mean(axis=0), right[SCRATCH].mean(axis=0))
                else:
                    cells += ["", ""]
                print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=list_of(int), default="1,2,3")
    parser.add_argument("--shares", type=list_of(float), default="0.05,0.1,0.25,1")
    parser.add_argument("--ways", type=list_of(str), default=f"{SCRATCH},{PRETRAINED}")
    parser.add_argument("--epochs", type=int, default=16, help="of the runs with labels")
    given, settings = arguments(parser)
    for seed in given.seeds:
        study(given, settings, seed)
    print(f"\n{processor()}; {given.epochs} epochs; {' '.join(settings)}")
    table(given)


if __name__ == "__main__":
    main()
