"""Each augmentation of a recipe alone, the recipe without each, and adaptation, over seeds.

    python benchmarks/ablation.py outputs/ablation experiment=penn_to_repcount \\
        dataset.path=penn_repcount.pkl --also joints.probability=0.1,mixup.probability=0.5

The recipe is the `augment` group of the settings; an augmentation is part of it if it differs from
`augment=none`. `--also` names settings below `augment` of further augmentations, to be tried alone.
Adaptation (`task=adapt`, `adapt_tent`, `adapt_shot`) starts from the network without augmentation,
and sees the recordings of the reported split without their labels. The only evaluation of a run is
after its last epoch. A study that was interrupted continues where it stopped. Other words are
settings of the runs.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from studies import accuracy_cells, arguments, hits, list_of, paired_difference, run, train

from flag3d_exp.config.hydra_adapter import value_text
from flag3d_exp.devices.processor import processor

CONF = Path(__file__).parent.parent / "conf"
PLAIN, RECIPE = "no augmentation", "recipe"
ADAPTED = {"adapt": "statistics", "adapt_tent": "TENT", "adapt_shot": "SHOT"}


def variants(settings: list[str], also: list[str]) -> dict[str, list[str]]:
    """The settings of each variant, by its name."""
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", [one for one in settings if not one.startswith("hydra.")])
    off = changed(config.augment, OmegaConf.load(CONF / "augment" / "none.yaml"))
    if not off:
        raise SystemExit("the settings' `augment` is `none`: there is no recipe to study")
    every = [word for words in off.values() for word in words]
    found = {PLAIN: every, RECIPE: []}
    for name in off:
        found[f"{name} alone"] = [
            word for one, words in off.items() if one != name for word in words
        ]
    for name in off:
        found[f"without {name}"] = off[name]
    for word in also:
        found[f"{word.partition('.')[0]} alone"] = [*every, f"augment.{word}"]
    return found


def changed(recipe: DictConfig, none: Any) -> dict[str, list[str]]:
    """The settings that turn off each augmentation of the recipe."""
    found: dict[str, list[str]] = {}
    for name, step in none.items():
        if OmegaConf.is_config(step) and recipe.get(name) is not None:
            words = [
                f"augment.{name}.{key}={value_text(value)}"
                for key, value in leaves(step)
                if recipe[name][key] != value
            ]
            found |= {name: words} if words else {}
    return found


def leaves(step: Any) -> Iterator[tuple[str, Any]]:
    """The settings of an augmentation; those that take their value from elsewhere are left out."""
    for key in step:
        if not key.startswith("_") and not OmegaConf.is_interpolation(step, key):
            value = step[key]
            yield key, OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


def table(runs: Mapping[str, Mapping[int, Path]], split: str) -> None:
    """Print the accuracy of each variant, and its difference from the one it is compared with."""
    right = {name: hits(list(by_seed.values()), split) for name, by_seed in runs.items()}
    print(f"\n{split}\n| variant | top-1 of seeds | mean ± spread | difference | to | p |")
    print("|---|---|---|---|---|---|")
    for name, matrix in right.items():
        cells = [name, *accuracy_cells(matrix)]
        other = RECIPE if name.startswith("without ") else PLAIN
        if name == other:
            cells += ["", "", ""]
        else:
            difference, p_value = paired_difference(matrix.mean(axis=0), right[other].mean(axis=0))
            cells += [difference, other, p_value]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Train, adapt and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=list_of(int), default="1,2,3")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--split", default="out_domain")
    parser.add_argument("--also", type=list_of(str), default="")
    given, settings = arguments(parser)
    epochs = [f"task.epochs={given.epochs}", f"task.eval_every={given.epochs}"]
    runs: dict[str, dict[int, Path]] = {}
    for name, words in variants(settings, [word for word in given.also if word]).items():
        for seed in given.seeds:
            folder = given.folder / f"{name.replace(' ', '_')}_seed{seed}"
            train(folder, [*settings, *epochs, *words, f"seed={seed}"])
            runs.setdefault(name, {})[seed] = folder
    for task, name in ADAPTED.items():
        for seed in given.seeds:
            folder = given.folder / f"{task}_seed{seed}"
            if not (folder / "metrics.json").exists():
                start = f"task.checkpoint={runs[PLAIN][seed]}"
                run(folder, [f"task={task}", start, f"task.split={given.split}", f"seed={seed}"])
            runs.setdefault(f"{name} (transductive)", {})[seed] = folder
    print(f"\n{processor()}; {given.epochs} epochs; {' '.join(settings)}")
    table(runs, given.split)


if __name__ == "__main__":
    main()
