"""Merge annotation files: match classes by name and map joints to one layout.

One run can then train a network on one source and test it on another, by `dataset.splits` such as
`<source>_<split>`. Motion capture and video may be mixed: `augment=camera` projects 3D to 2D.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.camera import UPWARD
from flag3d_exp.data.inputs import mapped_to
from flag3d_exp.data.joined import joined_by_name
from flag3d_exp.data.source import open_dataset_file, share_of_each_class
from flag3d_exp.data.unseen import unseen_classes
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.skeletons.layout import load_layout

ALL = "all"  # the split with all recordings that are taken from a source
Splits = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Source:
    """An annotation file and the part of it to use.

    Args:
        path: as `dataset.path`.
        layout: of its joints.
        classes: names of its labels, from 0.
        taken: for each class of the result, the classes of this file to use; None: those of the
            same names.
        to_layout: layout to map the joints to; None keeps them, as needed for 3D joints that
            cameras project.
        num_coordinates: 2 drops the depth; None keeps all coordinates.
        window: cut recordings into windows of this many frames, the last of at least half as many;
            None keeps them whole.
        join: each recording shows one repetition; join up to this many of one subject and class,
            see `joined_recording`; None keeps them apart.
        up: the upward axis of 3D recordings, which becomes z; None: they are not turned.
        shares: name of a split of this file -> share of each class's recordings to keep in it,
            drawn from the seed; the others stay in `<source>_all`.
        left_out: name of a split of this file -> classes of which it keeps no recording, listed or
            the name of a choice, as for `dataset.unseen`.
    """

    path: str
    layout: str
    classes: list[str]
    taken: dict[str, list[str]] | None = None
    to_layout: str | None = None
    num_coordinates: Literal[2] | None = None
    window: Annotated[int, ">= 1"] | None = None
    join: Annotated[int, ">= 2, <= 1000"] | None = None
    up: Literal["x", "y", "z"] | None = None
    shares: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, list[str] | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bounds.check(self, "source")
        if self.window is not None and self.join is not None:
            raise UserError("`source.window` and `source.join` exclude each other.")
        for split, share in self.shares.items():
            if not 0 < share <= 1:
                raise UserError(f"`source.shares.{split}` must be > 0, <= 1; got {share}.")
        for split in self.left_out:
            for name in self.classes_left_out(split):
                if name not in self.classes:
                    raise UserError(
                        f"`source.left_out.{split}`: there is no class {name!r} in `classes`."
                        f"{nearest(name, self.classes)}"
                    )
        for layout in (self.layout, self.to_layout):
            if layout is not None:
                load_layout(layout, "source.layout")

    def classes_left_out(self, split: str) -> list[str]:
        """The classes of this file of which the split keeps no recording."""
        return unseen_classes(self.left_out.get(split), f"source.left_out.{split}")

    def labels(self, classes: Sequence[str]) -> dict[int, int]:
        """Mapping from the file's labels that are used to labels in `classes`.

        Raises:
            UserError: `taken` names an unknown class, or one class twice.
        """
        found: dict[int, int] = {}
        taken = self.taken
        if taken is None:
            taken = {name: [name] for name in classes if name in self.classes}
        for become, names in taken.items():
            if become not in classes:
                raise UserError(
                    f"`taken`: {become!r} is none of the classes {', '.join(classes)}."
                    f"{nearest(become, classes)}"
                )
            for name in names:
                if name not in self.classes:
                    hint = nearest(name, self.classes)
                    raise UserError(f"`taken`: there is no class {name!r} in `classes`.{hint}")
                label = self.classes.index(name)
                if label in found:
                    raise UserError(f"`taken` names class {name!r} twice.")
                found[label] = classes.index(become)
        return found


def combined_content(
    sources: Mapping[str, Source],
    classes: Sequence[str],
    unions: Mapping[str, Sequence[str]] = MappingProxyType({}),
    seed: int = 0,
) -> tuple[Splits, list[Recording]]:
    """The splits `<source>_<split>` and `<source>_all`, and the recordings `<source>-<name>`.

    Args:
        classes: of the result, in the order of their labels.
        unions: further splits, each of all recordings of some of the splits above.
        seed: of the recordings that `shares` keep.

    Raises:
        UserError: a source can't be read or does not match its settings, a class has no recording
            in any source, or a union names a split that does not exist.
    """
    splits: Splits = {}
    recordings: list[Recording] = []
    for name, source in sources.items():
        with blamed_on(f"task.sources.{name}"):
            own_splits, own = taken_of(source, classes, name, seed)
        splits |= {f"{name}_{split}": names for split, names in own_splits.items()}
        recordings += own
    for union, parts in unions.items():
        for part in parts:
            if part not in splits or part in unions:
                raise UserError(
                    f"`task.splits.{union}` names {part!r}, which is none of the splits "
                    f"{', '.join(splits)}.{nearest(part, splits)}"
                )
        if union in splits:
            raise UserError(f"`task.splits.{union}`: a source has a split of this name.")
        splits[union] = tuple(dict.fromkeys(name for part in parts for name in splits[part]))
    present = {recording.label for recording in recordings}
    if lacking := [one for label, one in enumerate(classes) if label not in present]:
        raise UserError(f"`task.classes`: no source has recordings of {', '.join(lacking)}.")
    return splits, recordings


def taken_of(
    source: Source, classes: Sequence[str], name: str, seed: int
) -> tuple[Splits, list[Recording]]:
    """The splits and recordings of one source, as in `combined_content`.

    Raises:
        UserError: no recording is of a class to use, a label has no name, or `shares` or
            `left_out` names an unknown split.
    """
    annotations = open_dataset_file(source.path)
    labels = source.labels(classes)
    highest = max((one.label for one in annotations.all), default=0)
    if highest >= len(source.classes):
        raise UserError(
            f"`classes` names {len(source.classes)} labels, but {annotations.path} has label "
            f"{highest}."
        )
    kept = [one for one in annotations.all if one.label in labels]
    if not kept:
        raise UserError(f"{annotations.path} has no recording of the classes in `taken`.")
    if source.num_coordinates is not None:
        kept = [replace(o, keypoints=o.keypoints[..., : source.num_coordinates]) for o in kept]
    if source.up is not None:
        order = UPWARD[source.up]
        kept = [replace(o, keypoints=_reordered_axes(o.keypoints, order)) for o in kept]
    if source.to_layout is not None:
        kept = mapped_to(load_layout(source.to_layout), load_layout(source.layout), kept)
    if source.join is not None:
        center = load_layout(source.to_layout or source.layout).center
        parts = joined_by_name(kept, annotations.splits, source.join, center)
    else:
        parts = {one.name: windows(one, source.window) for one in kept}
    named = {
        whole: [renamed_recording(part, name, labels[part.label]) for part in members]
        for whole, members in parts.items()
    }
    label_of = {one.name: one.label for one in kept}  # in the file; classes may be merged
    splits = {ALL: tuple(part.name for members in named.values() for part in members)}
    for split, names in annotations.splits.items():
        out = {source.classes.index(one) for one in source.classes_left_out(split)}
        stay = [whole for whole in names if label_of.get(whole) not in out]
        members = [part for whole in stay for part in named.get(whole, ())]
        members = share_of_each_class(members, source.shares.get(split, 1), seed)
        splits[split] = tuple(part.name for part in members)
    for key in ("shares", "left_out"):
        for split in getattr(source, key):
            if split not in annotations.splits:
                hint = nearest(split, annotations.splits)
                raise UserError(f"`{key}`: {annotations.path} has no split {split!r}.{hint}")
    made = [part for members in named.values() for part in members]
    return {split: names for split, names in splits.items() if names}, made


def _reordered_axes(keypoints: np.ndarray, order: tuple[int, int, int]) -> np.ndarray:
    """The keypoints with their axes in this order; 2D keypoints are not changed."""
    return keypoints[..., order] if keypoints.shape[-1] == 3 else keypoints


def windows(recording: Recording, length: int | None) -> list[Recording]:
    """Windows of `length` frames; the whole recording if it is not longer or `length` is None.

    Windows without a visible joint are dropped. The subject of a window is the recording's subject,
    or the recording's name if that is unknown.
    """
    num_frames = recording.keypoints.shape[1]
    if length is None or num_frames <= length:
        return [recording]
    found = []
    for first in range(0, num_frames, length):
        part = slice(first, min(first + length, num_frames))
        keypoints = recording.keypoints[:, part]
        if 2 * keypoints.shape[1] < length or not np.any(keypoints):
            continue
        found.append(
            replace(
                recording,
                name=f"{recording.name}-{first}",
                keypoints=keypoints,
                scores=None if recording.scores is None else recording.scores[:, part],
                repetitions=None,
                subject=recording.subject or recording.name,
            )
        )
    return found


def renamed_recording(recording: Recording, source: str, label: int) -> Recording:
    """The recording with a label of the merged dataset, and a name and subject unique to the
    source."""
    subject = recording.subject
    return replace(
        recording,
        name=f"{source}-{recording.name}",
        label=label,
        subject=None if subject is None else f"{source}-{subject}",
    )
