"""`task=combine`: combine several annotation files into one, matching classes by name."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from flag3d_exp import bounds, console
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.combined import Source, combined_content
from flag3d_exp.data.formats.convert import write_annotations
from flag3d_exp.errors import UserError
from flag3d_exp.names import check_class_names
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.records import record
from flag3d_exp.splits import check_split_names


@dataclass(frozen=True)
class Combine:
    """Settings of `task=combine`.

    Args:
        output: the annotation file to write.
        classes: names of its labels, in order.
        sources: source name -> a file and the part of it to take; see `data.combined.Source`.
        splits: further splits, each the names of splits `<source>_<split>` whose recordings it has.
    """

    output: str
    classes: Annotated[list[str], "not empty"]
    sources: dict[str, dict[str, Any]]
    splits: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        check_class_names(self.classes, "`task.classes`")
        check_split_names(self.sources, "`task.sources`")
        check_split_names(self.splits, "`task.splits`")

    def __call__(self, experiment: Experiment) -> None:
        """Combine, and print the splits and the recordings of each class."""
        output = Path(self.output).expanduser()
        sources = {name: source_of(name, one) for name, one in self.sources.items()}
        for name, source in sources.items():
            path = Path(source.path).expanduser()
            if os.path.exists(output) and os.path.exists(path) and output.samefile(path):
                raise UserError(f"`task.output` must be another file than the one of {name}.")
        splits, recordings = combined_content(sources, self.classes, self.splits, experiment.seed)
        write_annotations(output, splits, recordings)
        label_of = {recording.name: recording.label for recording in recordings}
        for split, names in splits.items():
            counts = Counter(label_of[name] for name in names)
            told = ", ".join(f"{one} {counts[n]}" for n, one in enumerate(self.classes))
            console.say(f"{split:20} {len(names):6} recordings: {told}")
        console.say(f"{len(recordings)} recordings in {output}")


def source_of(name: str, settings: dict[str, Any]) -> Source:
    """The source that settings describe.

    Raises:
        UserError: names the setting that is wrong.
    """
    key = f"task.sources.{name}"
    try:
        return record(Source, settings)
    except Malformed as error:
        raise UserError(f"`{key}`: {error}.") from error
    except UserError as error:
        raise UserError(str(error).replace("`source.", f"`{key}.")) from error
