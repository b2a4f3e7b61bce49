"""What generated recordings give a recogniser: alone, and added to shares of the real ones.

    python benchmarks/generated.py outputs/use --generator outputs/generator \\
        experiment=uiprmd_stgcn dataset=uiprmd dataset.path=uiprmd.pkl

For each seed, the generator makes `--count` recordings of each class, and a share of the real
training recordings is drawn. Recognisers are trained on the real ones, on both, and on the
generated ones alone; all make about as many updates as `--epochs` epochs of all real recordings.
The only evaluation is after the last epoch: nothing is chosen on the splits that are reported. A
study that was interrupted continues where it stopped. Other words are settings of the runs.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from studies import (
    accuracy_cells,
    arguments,
    epochs,
    hits,
    list_of,
    paired_difference,
    run,
    run_folder,
    train,
)

from flag3d_exp.config.checks import CONF
from flag3d_exp.data.source import open_dataset_file
from flag3d_exp.devices.processor import processor

GENERATED = "generated_generated"  # the split in a combined file
REAL, BOTH, ALONE = "real", "both", "generated"
WHOLE = 1.0


def combined_file(
    given: argparse.Namespace, settings: Sequence[str], train_split: str, seed: int, share: float
) -> Path:
    """The annotation file with generated recordings and a share of the real ones."""
    made = given.folder / f"seed{seed}_recordings"
    if not (made / "generated.pkl").exists():
        general = [one for one in settings if one.startswith("device")]
        run(made, [*general, "task=generate", f"task.checkpoint={given.generator}",
                   f"task.count={given.count}", f"seed={seed}"])  # fmt: skip
    output = given.folder / f"seed{seed}_{share:g}.pkl"
    if not output.exists():
        lines = [one for one in settings if one.startswith("dataset")]
        if share != WHOLE:
            lines.append(f"+task.sources.real.shares.{train_split}={share}")
        run(given.folder / f"seed{seed}_{share:g}_combined", [
            *lines, "task=combine_generated", f"seed={seed}", f"task.output={output}",
            f"task.sources.generated.path={made / 'generated.pkl'}",
            f"+task.splits.both=[{GENERATED},real_{train_split}]",
        ])  # fmt: skip
    return output


def study(
    given: argparse.Namespace, settings: Sequence[str], splits: dict[str, str], seed: int
) -> None:
    """The runs of one seed that have not ended."""
    names = {REAL: f"real_{splits['train']}", BOTH: BOTH, ALONE: GENERATED}
    tested = {key: f"real_{name}" for key, name in splits.items() if key != "train"}
    whole = open_dataset_file(str(combined_file(given, settings, splits["train"], seed, WHOLE)))
    num_real = len(whole.splits[names[REAL]])
    for share, way in cases(given):
        path = combined_file(given, settings, splits["train"], seed, share)
        count = len(open_dataset_file(str(path)).splits[names[way]])
        repeat = max(1, num_real // count)
        chosen = {"train": names[way]} | tested
        train(
            run_folder(given.folder, seed, share, way),
            [
                *settings,
                f"seed={seed}",
                f"dataset.path={path}",
                f"task.repeat={repeat}",
                *epochs(max(1, round(given.epochs * num_real / (count * repeat)))),
                *[f"dataset.splits.{key}={name}" for key, name in chosen.items()],
            ],
        )


def cases(given: argparse.Namespace) -> list[tuple[float, str]]:
    """Shares of the real recordings, and ways to train."""
    return [(WHOLE, ALONE), *[(share, way) for share in given.shares for way in (REAL, BOTH)]]


def table(given: argparse.Namespace, splits: Sequence[str]) -> None:
    """Print the accuracies, and the differences from the real recordings alone."""
    for split in splits:
        right = {
            (share, way): hits(
                [run_folder(given.folder, s, share, way) for s in given.seeds], split
            )
            for share, way in cases(given)
        }
        print(f"\n{split}\n| real | trained on | top-1 of seeds | mean ± spread | difference | p |")
        print("|---|---|---|---|---|---|")
        for (share, way), matrix in right.items():
            cells = ["" if way == ALONE else f"{share:.0%}", way, *accuracy_cells(matrix)]
            base = right.get((share, REAL))
            if way != REAL and base is not None:
                cells += paired_difference(matrix.mean(axis=0), base.mean(axis=0))
            else:
                cells += ["", ""]
            print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", type=Path, required=True, help="run or checkpoint")
    parser.add_argument("--count", type=int, default=50, help="generated recordings of a class")
    parser.add_argument("--seeds", type=list_of(int), default="1,2,3")
    parser.add_argument("--shares", type=list_of(float), default="0.1,0.25,1")
    parser.add_argument("--epochs", type=int, default=24, help="of all real recordings")
    given, settings = arguments(parser)
    given.folder = given.folder.absolute()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        splits = dict(compose("config", settings).dataset.splits)
    for seed in given.seeds:
        study(given, settings, splits, seed)
    print(f"\n{processor()}; {given.epochs} epochs; {' '.join(settings)}")
    table(given, [key for key in splits if key != "train"])


if __name__ == "__main__":
    main()
