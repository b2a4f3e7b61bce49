"""Classes that are excluded from training, for zero-shot recognition: `dataset.unseen`.

The setting lists the classes, or names a choice of `class_splits.yaml`.

Each evaluation split is divided into two: `val` keeps the classes that were trained on, and
`val_unseen` gets the others. So no recording of an unseen class affects choices made on `val`, such
as the best epoch or a temperature.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from flag3d_exp.data.annotations import Recording
from flag3d_exp.errors import UserError, nearest
from flag3d_exp.reading.text import file_text, parsed_yaml
from flag3d_exp.splits import UNSEEN

CHOICES = Path(__file__).with_name("class_splits.yaml")


@cache
def named_choices() -> dict[str, list[str]]:
    """The classes of each choice that `dataset.unseen` may name."""
    return parsed_yaml(file_text(CHOICES))


def unseen_classes(unseen: Sequence[str] | str | None, key: str = "dataset.unseen") -> list[str]:
    """The classes that `dataset.unseen` lists, or those of the choice that it names.

    Args:
        key: name of the setting, for the message.

    Raises:
        UserError: no choice has this name.
    """
    if not isinstance(unseen, str):
        return list(unseen or ())
    known = named_choices()
    if unseen not in known:
        raise UserError(
            f"`{key}={unseen}` names no choice of classes; accepted: a list of classes, "
            f"such as `{key}=[Sit-ups]`, or one of {', '.join(known)}."
        )
    return list(known[unseen])


def evaluated_splits(
    splits: Mapping[str, str], unseen: Sequence[str] | str | None
) -> dict[str, str]:
    """`dataset.splits` and the splits of unseen classes: name -> name of the split in the file."""
    if not unseen:
        return dict(splits)
    found: dict[str, str] = {}
    for split, name in splits.items():
        found[split] = name
        if split != "train":
            found[split + UNSEEN] = name
    return found


def check_unseen(
    unseen: Sequence[str] | str | None,
    classes: Sequence[str] | None,
    splits: Mapping[str, str],
) -> None:
    """Refuse unseen classes that the dataset lacks, or that leave too few classes of either kind.

    Raises:
        UserError: a class is unknown or listed twice, or too few classes remain.
    """
    if unseen is None:
        return
    if not unseen:
        raise UserError("`dataset.unseen` must name at least one class, or be null; got [].")
    if classes is None:
        raise UserError(
            "`dataset.unseen` names classes of `dataset.classes`, which is null; give both."
        )
    names = unseen_classes(unseen)
    key = f"dataset.unseen={unseen}" if isinstance(unseen, str) else "dataset.unseen"
    for name in names:
        if name not in classes:
            raise UserError(
                f"`{key}`: {name!r} is not in `dataset.classes`.{nearest(name, classes)}"
            )
    if len(set(names)) < len(names):
        raise UserError("`dataset.unseen` names a class twice.")
    if len(classes) - len(names) < 2:
        raise UserError(
            f"`dataset.unseen` must leave at least 2 of {len(classes)} classes to train on; it "
            f"names {len(names)}."
        )
    for split in splits:
        if split.endswith(UNSEEN):
            raise UserError(
                f"`dataset.splits` has {split!r}, but `{UNSEEN}` ends the names of the splits that "
                "`dataset.unseen` makes; choose another name."
            )


def of_split(
    recordings: Sequence[Recording],
    split: str,
    unseen: Sequence[str] | str | None,
    classes: Sequence[str],
) -> Sequence[Recording]:
    """The recordings of a split: of unseen classes if its name ends so, else of seen classes.

    Args:
        split: a key of `evaluated_splits`.

    Raises:
        UserError: there are no such recordings.
    """
    if not unseen:
        return recordings
    labels = {list(classes).index(name) for name in unseen_classes(unseen)}
    wanted = split.endswith(UNSEEN)
    found = [one for one in recordings if (one.label in labels) == wanted]
    if not found:
        base = split.removesuffix(UNSEEN)
        kind = "unseen" if wanted else "other"
        raise UserError(f"`dataset.unseen`: split {base!r} has no recording of {kind} classes.")
    return found
