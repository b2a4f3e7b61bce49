"""`task=convert`: other forms of skeleton data into the annotation file that runs read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from flag3d_exp import bounds, console
from flag3d_exp.config.command_line import assignment, shell_command
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.formats.convert import converted, write_annotations
from flag3d_exp.data.formats.ntu import read_missing
from flag3d_exp.errors import UserError, blamed_on


@dataclass(frozen=True)
class Convert:
    """Settings of `task=convert`.

    Args:
        source: NTU RGB+D `.skeleton` files (one, or their folder), a PYSKL pickle of NTU RGB+D, or
            the YAML file of a table (see `data.tables`).
        output: the annotation file to write.
        num_persons: the most persons to keep of an NTU RGB+D skeleton file.
        missing: a list of NTU RGB+D recordings to leave out, as its authors give it; None: none.
    """

    source: str
    output: str
    num_persons: Annotated[int, ">= 1"] = 2
    missing: str | None = None

    def __post_init__(self) -> None:
        bounds.check(self, "task")

    def __call__(self, experiment: Experiment) -> None:
        """Convert, and print the command that looks at the result."""
        output = Path(self.output).expanduser()
        source = Path(self.source).expanduser()
        if output.exists() and source.exists() and output.samefile(source):
            raise UserError("`task.output` must be another file than `task.source`.")
        missing = frozenset() if self.missing is None else read_missing(Path(self.missing))
        with blamed_on("task.source"):
            splits, recordings, layout, empty = converted(source, self.num_persons, missing)
        write_annotations(output, splits, recordings)
        persons = max(recording.keypoints.shape[0] for recording in recordings)
        flat = recordings[0].keypoints.shape[-1] == 2
        scored = flat and recordings[0].scores is not None
        settings = {
            "path": str(output),
            "layout": layout,
            "num_classes": max(recording.label for recording in recordings) + 1,
            "num_persons": persons,
            "num_channels": 2 + scored if flat else 3,
            **({"score_channel": True} if scored else {}),
            **({"normalise": "box"} if flat else {}),
            "splits": {role: _chosen(splits, role) for role in ("train", "val")},
        }
        sizes = ", ".join(f"{split} {len(names)}" for split, names in splits.items())
        console.say(f"{len(recordings)} recordings ({sizes}) in {output}")
        if empty:
            console.say(
                f"{len(empty)} recordings without a person were left out, such as {empty[0]}"
            )
        console.say("To look at them:")
        given = [assignment(f"dataset.{name}", value) for name, value in settings.items()]
        console.say("  " + shell_command(["task=inspect", "dataset=custom", *given]))


def _chosen(splits: dict[str, tuple[str, ...]], role: str) -> str:
    """The first split whose name ends so."""
    return next((split for split in splits if split.endswith(role)), role)
