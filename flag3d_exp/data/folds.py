"""Cross-validation over subjects: each fold excludes some subjects from training.

The recordings of `train` and `val` are pooled. Those of the fold's subjects become `val`, the
others become `train`. Other splits keep only recordings of subjects that are not in `train`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flag3d_exp.data.annotations import Annotations, Recording
from flag3d_exp.errors import UserError

FIELD = "subject"  # the recordings' field; other values of `dataset.groups` are name patterns
# Matches the person in names such as S001C002P003R001A004 (NTU RGB+D), S002C002M001P003A004R001
# (FLAG3D), or PLAY_A001_V001_R001_S001, where it comes first.
PERSON = re.compile(r"^S\d{3}C\d{3}(?:M\d{3})?(P\d{3})|^([A-Z]{3,5})_A\d{3}_")
NUM_SHOWN = 6


@dataclass(frozen=True)
class Fold:
    """The splits of a fold.

    Attributes:
        groups: the subjects that are excluded from training.
        splits: names of recordings by split.
    """

    groups: tuple[str, ...]
    splits: dict[str, tuple[str, ...]]


def leave_out(
    annotations: Annotations,
    splits: Mapping[str, str],
    number: int,
    groups: str = FIELD,
    num_folds: int | None = None,
) -> Fold:
    """The splits of fold `number`.

    Args:
        splits: `train`, `val` and others, by their names in the file.
        number: of the fold, from 0.
        groups: `subject` for the recordings' `subject`, or the person in names such as those of NTU
            RGB+D and FLAG3D if there is none; otherwise a regular expression that is searched in
            the names: its first group, or the whole match, is the group of a recording.
        num_folds: number of folds, to which the groups are assigned in turn; None: one per group.

    Raises:
        UserError: the fold does not exist, a recording has no group, or a split becomes empty.
    """
    if not {"train", "val"} <= splits.keys():
        raise UserError(
            "`fold` needs `train` and `val` in `dataset.splits`, whose recordings it divides; "
            f"got {', '.join(splits)}."
        )
    members = {split: annotations.recordings(name) for split, name in splits.items()}
    pooled = {one.name: one for split in ("train", "val") for one in members[split]}
    group_of = group_names([*pooled.values(), *(o for m in members.values() for o in m)], groups)
    known = sorted({group_of[name] for name in pooled}, key=by_numbers)
    count = checked_count(known, number, num_folds)
    left_out = tuple(known[number::count])
    trained = set(known) - set(left_out)
    found = {
        "train": tuple(name for name in pooled if group_of[name] in trained),
        "val": tuple(name for name in pooled if group_of[name] not in trained),
    }
    for split in splits:
        if split in found:
            continue
        found[split] = tuple(o.name for o in members[split] if group_of[o.name] not in trained)
        if not found[split]:
            raise UserError(
                f"`fold={number}` leaves out {listed_groups(left_out)}, and all recordings of "
                f"split {split!r} are of subjects that it trains on; leave the split out by "
                f"`~dataset.splits.{split}`."
            )
    return Fold(left_out, found)


def checked_count(known: Sequence[str], number: int, num_folds: int | None) -> int:
    """The number of folds.

    Raises:
        UserError: there are more folds than groups, fewer than two, or no fold `number`.
    """
    count = len(known) if num_folds is None else num_folds
    if len(known) < 2:
        raise UserError(
            f"`fold` needs recordings of two groups or more (`dataset.groups`); all are of "
            f"{listed_groups(known)}."
        )
    if count > len(known):
        raise UserError(
            f"`dataset.num_folds` must be at most {len(known)}, the number of groups "
            f"({listed_groups(known)}); got {count}."
        )
    if number >= count:
        raise UserError(
            f"`fold` must be from 0 to {count - 1}, for {len(known)} groups "
            f"({listed_groups(known)}); got {number}."
        )
    return count


def group_names(recordings: Sequence[Recording], groups: str) -> dict[str, str]:
    """The group of each recording, by its name.

    Raises:
        UserError: some recordings have no group.
    """
    found: dict[str, str] = {}
    without: set[str] = set()
    for one in recordings:
        if groups == FIELD:
            group = subject(one)
        else:
            match = re.search(groups, one.name)
            group = match.group(min(1, match.re.groups)) if match else None
        if group:
            found[one.name] = group
        else:
            without.add(one.name)
    if without:
        how = (
            "have no `subject`; give a pattern on their names as `dataset.groups`"
            if groups == FIELD
            else f"have names without the pattern `dataset.groups={groups}`"
        )
        raise UserError(f"`fold`: {len(without)} recordings {how}, such as {min(without)!r}.")
    return found


def subject(recording: Recording) -> str | None:
    """The subject in the file, or the person in a name of NTU RGB+D's or FLAG3D's form."""
    if recording.subject is not None:
        return recording.subject
    match = PERSON.match(recording.name)
    return next(filter(None, match.groups())) if match else None


def check_pattern(groups: str) -> None:
    """Refuse an invalid regular expression.

    Raises:
        UserError: it is invalid; the message says why.
    """
    try:
        re.compile(groups)
    except re.error as error:
        raise UserError(
            f"`dataset.groups` must be `{FIELD}` or a regular expression; got {groups!r}: {error}."
        ) from error


def by_numbers(text: str) -> list[tuple[int, str]]:
    """A sort key that sorts P2 before P10."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def listed_groups(groups: Sequence[str]) -> str:
    """The first few groups, separated by commas."""
    more = ", ..." if len(groups) > NUM_SHOWN else ""
    return ", ".join(groups[:NUM_SHOWN]) + more
