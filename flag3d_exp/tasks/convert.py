"""`task=convert`: convert skeleton data of other formats into the annotation file of runs."""

import os
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from flag3d_exp import console, files
from flag3d_exp.config.command_line import assignment, shell_command
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.formats.convert import Converted, converted_recordings, write_annotations
from flag3d_exp.data.formats.detections import OpenFacts
from flag3d_exp.data.formats.ntu import read_missing
from flag3d_exp.data.inputs import mapped_to
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.skeletons.layout import load_layout

CLIP_LEN = (16, 32)  # smallest and largest number of frames of a clip
EPOCHS, BATCH_SIZE, UPDATES = 10, 8, 200  # suit a dataset of tens to hundreds of recordings


@dataclass(frozen=True)
class Convert(OpenFacts):
    """Settings of `task=convert`, in addition to those of `OpenFacts`.

    Args:
        source: files of a pose estimator (see `data.formats.poses`), NTU RGB+D `.skeleton` files
            (one, or their folder), a PYSKL pickle, or the YAML file of a table (see `data.tables`).
        output: the annotation file to write.
        config_dir: folder in which to describe the file as a choice of `dataset`, under its own
            name, for `--config-dir`; None: the printed commands contain all settings.
        num_persons: largest number of persons to keep of a video or an NTU RGB+D skeleton file.
        missing: a list of NTU RGB+D recordings to leave out, in its authors' format; None: none.
        to_layout: layout to map the joints to; joints that the source lacks are missing.
        num_coordinates: 2 leaves out a depth that comes with pixels, 3 keeps it; None: the unit
            decides.
    """

    source: str
    output: str
    config_dir: str | None = None
    num_persons: Annotated[int, ">= 1"] = 2
    missing: str | None = None
    to_layout: str | None = None
    num_coordinates: Literal[2, 3] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to_layout is not None:
            load_layout(self.to_layout, "task.to_layout")

    def __call__(self, experiment: Experiment) -> None:
        """Convert, and print the commands that inspect the result and train on it."""
        output = Path(self.output).expanduser()
        source = Path(self.source).expanduser()
        if os.path.exists(output) and os.path.exists(source) and output.samefile(source):
            raise UserError("`task.output` must be another file than `task.source`.")
        missing = frozenset() if self.missing is None else read_missing(Path(self.missing))
        with blamed_on("task.source"):
            how = self.reading(self.num_coordinates, self.num_persons)
            found = converted_recordings(source, self.num_persons, missing, how)
            if self.to_layout is not None:
                target = load_layout(self.to_layout)
                recordings = mapped_to(target, load_layout(found.layout), found.recordings)
                found = found._replace(recordings=recordings, layout=self.to_layout)
        for note in found.notes:
            console.say(note)
        write_annotations(output, found.splits, found.recordings)
        sizes = ", ".join(f"{split} {len(names)}" for split, names in found.splits.items())
        console.say(f"{len(found.recordings)} recordings ({sizes}) in {output}")
        if found.empty:
            console.say(
                f"{len(found.empty)} recordings without a person were left out, such as "
                f"{found.empty[0]}"
            )
        settings = dataset_settings(found, output)
        flags, given = [], [assignment("dataset", "custom")]
        if self.config_dir is None:
            given += [assignment(f"dataset.{name}", value) for name, value in settings.items()]
        else:
            flags = [f"--config-dir={self.config_dir}"]
            given = [assignment("dataset", output.stem)]
            describe(Path(self.config_dir).expanduser() / "dataset", settings)
        console.say("To look at them:")
        console.say("  " + shell_command(["task=inspect", *given], flags))
        if all(found.splits.get(settings["splits"][role]) for role in ("train", "val")):
            console.say("To train on them:")
            num_recordings = len(found.splits[settings["splits"]["train"]])
            console.say("  " + shell_command([*given, *training(num_recordings)], flags))


def dataset_settings(found: Converted, output: Path) -> dict[str, Any]:
    """The settings of `dataset` that describe the recordings."""
    recordings = found.recordings
    flat = recordings[0].keypoints.shape[-1] == 2
    scored = flat and recordings[0].scores is not None
    num_classes = max(recording.label for recording in recordings) + 1
    lengths = sorted(recording.keypoints.shape[1] for recording in recordings)
    num_frames = lengths[len(lengths) // 10]  # a tenth of the recordings are shorter
    return {
        "name": output.stem,
        "path": str(output),
        "layout": found.layout,
        "num_classes": len(found.classes) if found.classes else num_classes,
        **({"classes": found.classes} if found.classes else {}),
        "num_persons": max(recording.keypoints.shape[0] for recording in recordings),
        "num_channels": 2 + scored if flat else 3,
        **({"score_channel": True} if scored else {}),
        **({"normalise": "box"} if flat else {}),
        "clip_len": min(max(num_frames, CLIP_LEN[0]), CLIP_LEN[1]),
        "splits": _chosen_splits(found.splits),
    }


def describe(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings as a choice of `dataset`, unless a choice of this name exists."""
    path = folder / f"{settings['name']}.yaml"
    if path.exists():
        console.say(f"{path} already exists and is not changed")
        return
    content = {"defaults": ["custom", "_self_"]} | settings
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    console.say(f"described in {path}")


def training(num_recordings: int) -> list[str]:
    """The overrides of a first training run on `num_recordings` recordings."""
    repeat = ceil(UPDATES * BATCH_SIZE / (EPOCHS * num_recordings))
    return [
        "optimizer=adamw",
        "optimizer.lr=0.003",
        f"task.epochs={EPOCHS}",
        f"task.repeat={repeat}",
        f"task.batch_size={BATCH_SIZE}",
    ]


def _chosen_splits(splits: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """The splits to train on and to evaluate: all, unless they are variants as in NTU RGB+D."""
    chosen = {
        role: next((split for split in splits if split.endswith(role)), role)
        for role in ("train", "val")
    }
    if set(chosen.values()) == {"train", "val"}:
        chosen |= {split: split for split in splits}
    return chosen
