"""The `dataset` group of the configuration: open its file, validate it and make clips."""

import logging
import reprlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.annotations import Annotations, Recording, file_digest, open_annotations
from flag3d_exp.data.augment.recipe import NOTHING, Recipe
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.folds import FIELD, check_pattern, leave_out, listed_groups
from flag3d_exp.data.pipeline import NO_IMAGE_SHAPE, GraphPipeline, HeatmapPipeline, Pipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.data.unseen import check_unseen, evaluated_splits, of_split
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.faults import Faults
from flag3d_exp.names import check_class_names
from flag3d_exp.skeletons.layout import Layout, load_layout
from flag3d_exp.splits import check_split_names

log = logging.getLogger(__name__)
DEMOS = {  # domain and number of classes
    "demo_in_domain": ("in_domain", 16),
    "demo_out_domain": ("out_domain", 16),
    "demo60_in_domain": ("in_domain", 60),
    "demo60_out_domain": ("out_domain", 60),
    "demo60_crowd": ("crowd", 60),
    "demo_repetitions": ("repetitions", 60),
}


@dataclass(frozen=True)
class Dataset:
    """An annotation file and facts about its content: the `dataset` group.

    Args:
        name: of the dataset in logs and reports.
        path: the annotation file, see `annotations`; `demo_in_domain`, `demo_out_domain`,
            `demo60_in_domain`, `demo60_out_domain`, `demo60_crowd` and `demo_repetitions` are
            synthetic data, made on first use.
        layout: the skeleton: a name in `skeletons/layouts/`, or the path of a YAML file.
        num_classes: labels are 0 to num_classes - 1.
        num_persons: persons in the network's input; further persons of a recording are dropped,
            missing ones are zeros.
        num_channels: channels of a joint in graph networks: its coordinates, and its score if
            score_channel is set.
        score_channel: whether the detector's score is the last channel.
        normalise: normalisation of coordinates for graph networks, see `GraphPipeline`.
        score_threshold: joints with a score of at most this are missing; null means 0.
        clip_len: frames of a clip for graph networks.
        mirror: probability of mirroring a training clip; use 0 if class names contain a side.
        splits: `train`, `val` and other evaluation splits, by their names in the file. The keys may
            have letters, digits, `_`, `-` and `.`, and must not end in `_ema`.
        train_share: share of each class's training recordings to use, drawn from the seed.
        classes: names of the labels, in order.
        unit: of 3D coordinates; null: unknown, or pixels.
        unseen: names of classes to exclude from training, or the name of a choice of classes; each
            evaluation split is then divided into two, see `unseen`.
        cache: folder for the converted file; "auto": flag3d_exp in $XDG_CACHE_HOME or ~/.cache;
            null: read the original file each time.
        recorded_layout: the skeleton of 3D recordings that cameras (`augment=camera`) project to 2D
            recordings of `layout`; null if there are none.
        fold: number of the fold in cross-validation over subjects, whose recordings are validated
            on and not trained on, see `folds`; null: use the splits of the file.
        groups: the groups that folds are made of: `subject`, or a regular expression that finds the
            group in a recording's name.
        num_folds: number of folds, to which the groups are assigned in turn; null: one per group.
    """

    name: str
    path: str
    layout: str
    num_classes: Annotated[int, ">= 1"]
    splits: dict[str, str]
    num_persons: Annotated[int, ">= 1"] = 1
    num_channels: int = 3
    score_channel: bool = False
    normalise: Literal["none", "image", "box", "frame", "center", "body"] = "none"
    score_threshold: float | None = None
    clip_len: Annotated[int, ">= 1, <= 100000"] = 100
    mirror: Annotated[float, ">= 0, <= 1"] = 0.0
    train_share: Annotated[float, "> 0, <= 1"] = 1.0
    classes: list[str] | None = None
    cache: str | None = "auto"
    recorded_layout: str | None = None
    fold: Annotated[int, ">= 0"] | None = None
    groups: str = FIELD
    num_folds: Annotated[int, ">= 2"] | None = None
    unseen: list[str] | str | None = None
    unit: Literal["metres", "centimetres", "millimetres"] | None = None

    def __post_init__(self) -> None:
        bounds.check(self, "dataset")
        check_split_names(self.splits, "`dataset.splits`")
        load_layout(self.layout, "dataset.layout")
        if self.recorded_layout is not None:
            load_layout(self.recorded_layout, "dataset.recorded_layout")
        if self.num_coordinates not in (2, 3):
            raise UserError(
                "`dataset.num_channels` must be 2 or 3 coordinates, and 1 for the score if "
                f"`dataset.score_channel` is true; got {self.num_channels}."
            )
        if self.classes is not None and len(self.classes) != self.num_classes:
            raise UserError(
                f"`dataset.classes` must name {self.num_classes} classes, as `dataset.num_classes` "
                f"says; got {len(self.classes)}."
            )
        check_class_names(self.classes or (), "`dataset.classes`")
        check_pattern(self.groups)
        check_unseen(self.unseen, self.classes, self.splits)

    @property
    def num_coordinates(self) -> int:
        """Number of coordinates of a joint, 2 or 3."""
        return self.num_channels - self.score_channel

    def layout_of(self, recording: Recording) -> Layout:
        """The skeleton of a recording in the file."""
        return self._recorded if recording.keypoints.shape[-1] == 3 else self._seen

    @cached_property
    def _seen(self) -> Layout:
        return load_layout(self.layout)

    @cached_property
    def _recorded(self) -> Layout:
        """The skeleton of 3D recordings."""
        return load_layout(self.recorded_layout or self.layout)

    def check_with(self, pipeline: Pipeline, stream: Stream, augment: Recipe = NOTHING) -> None:
        """Refuse other configuration groups that are incompatible with this dataset's settings."""
        augment.check_fit(self.num_coordinates)
        check_fit(self, load_layout(self.layout), pipeline)
        if isinstance(pipeline, HeatmapPipeline) and (stream.bones or stream.motion):
            raise UserError(
                f"`stream={stream.name}` is for graph networks; heatmaps are drawn of joints "
                "(`stream=joint`) or of limbs (`model.limbs=true`)."
            )

    def open(self) -> Annotations:
        """The annotation file, without folds."""
        with blamed_on("dataset.path"):
            return open_dataset_file(self.path, self.cache)

    def with_folds(self, annotations: Annotations) -> tuple["Dataset", Annotations]:
        """These settings and the annotations, with the splits of `fold` if it is set.

        Raises:
            UserError: the fold does not exist.
        """
        if self.fold is None:
            return self, annotations
        found = leave_out(annotations, self.splits, self.fold, self.groups, self.num_folds)
        log.info(
            "fold %d validates on %s: %d training recordings, %d validation recordings",
            *(self.fold, listed_groups(found.groups), len(found.splits["train"])),
            len(found.splits["val"]),
        )
        own = replace(self, splits={split: split for split in found.splits})
        return own, replace(annotations, splits=found.splits)


def open_dataset_file(path: str, cache: str | None = "auto") -> Annotations:
    """The annotation file of a `dataset.path`."""
    return open_annotations(annotation_file(path), cache)


def annotation_file(path: str) -> Path:
    """The file that a `dataset.path` names; the synthetic data is made on first use."""
    if path not in DEMOS:
        return Path(path).expanduser()
    from flag3d_exp.data.demo.dataset import demo_path

    return demo_path(*DEMOS[path])


def digest(path: str, cache: str | None = "auto") -> str | None:
    """A digest of the content of a `dataset.path`; None if the file does not exist."""
    return path if path in DEMOS else file_digest(path, cache)


def build(
    settings: Dataset,
    pipeline: Pipeline,
    stream: Stream,
    seed: int,
    splits: Iterable[str] | None = None,
    augment: Recipe = NOTHING,
) -> dict[str, ClipDataset]:
    """The validated clips of each split; only those of `train` are random.

    Args:
        augment: random changes of the clips of `train`.
        splits: keys of `settings.splits`, or of the splits that `settings.unseen` adds, to build;
            None builds all.

    Raises:
        UserError: the file is invalid, or does not match the settings.
    """
    settings, annotations = settings.with_folds(settings.open())
    known = evaluated_splits(settings.splits, settings.unseen)
    chosen = list(known) if splits is None else list(splits)
    recordings: dict[str, Sequence[Recording]] = {}
    for split in chosen:
        if split not in known:
            there = ", ".join(known)
            raise UserError(f"`dataset.splits` has no {split!r}; available: {there}.")
        try:
            found = annotations.recordings(known[split])
        except UserError as error:
            raise UserError(f"`dataset.splits.{split}`: {error}") from error
        recordings[split] = of_split(found, split, settings.unseen, settings.classes or ())
    if "train" in recordings:
        recordings["train"] = share_of_each_class(recordings["train"], settings.train_share, seed)
    check_disjoint(settings, annotations)
    settings.check_with(pipeline, stream, augment if "train" in chosen else NOTHING)
    layout = load_layout(settings.layout)
    faults = Faults()
    for members in recordings.values():
        for recording in members:
            if error := fault(recording, settings, layout, pipeline.needs_image):
                faults.add(reprlib.repr(recording.name), error)
    faults.refuse(f"{annotations.path}, {_listed_splits(known[split] for split in chosen)}")
    if augment.cameras is None:
        check_unfilmed(settings, [one for members in recordings.values() for one in members])
    if augment.cameras is not None and "train" in recordings:
        check_filmed(settings, recordings["train"])
    return {
        split: ClipDataset(
            members, pipeline, stream, seed, split == "train", annotations.digest, augment
        )
        for split, members in recordings.items()
    }


def check_filmed(settings: Dataset, recordings: Sequence[Recording]) -> None:
    """Refuse cameras if there is no 3D recording.

    Raises:
        UserError: all recordings are 2D.
    """
    if all(recording.keypoints.shape[-1] == 2 for recording in recordings):
        raise UserError(
            f"`augment.camera` is for recordings in 3D, but those of {settings.name} are 2D; use "
            "`augment.turn` to change the view of 2D recordings."
        )


def check_unfilmed(settings: Dataset, recordings: Sequence[Recording]) -> None:
    """Refuse 3D recordings that need cameras, if there are no cameras.

    Raises:
        UserError: there are such recordings; the message names one of them.
    """
    if settings.recorded_layout is None:
        return
    solid = [one.name for one in recordings if one.keypoints.shape[-1] == 3]
    if solid:
        raise UserError(
            f"{settings.name} holds recordings in 3D, such as {solid[0]!r}, which networks for "
            "2D see through cameras: set `augment=camera`."
        )


def fault(recording: Recording, settings: Dataset, layout: Layout, needs_image: bool) -> str | None:
    """The reason why the recording can't be used with these settings; None if it can."""
    _, _, num_joints, num_coordinates = recording.keypoints.shape
    if settings.recorded_layout is not None and num_coordinates == 3:
        recorded = settings.layout_of(recording)
        if num_joints != recorded.num_joints:
            return (
                f"it has {num_joints} joints in 3D, but layout {recorded.name} has "
                f"{recorded.num_joints}; set `dataset.recorded_layout`."
            )
        num_joints, num_coordinates, needs_image = layout.num_joints, 2, False
    if num_joints != layout.num_joints:
        return (
            f"it has {num_joints} joints, but layout {layout.name} has {layout.num_joints}; "
            "set `dataset.layout`."
        )
    if num_coordinates != settings.num_coordinates:
        return (
            f"it has {num_coordinates} coordinates, but `dataset.num_channels` is "
            f"{settings.num_channels}{' with the score' if settings.score_channel else ''}."
        )
    if not 0 <= recording.label < settings.num_classes:
        return (
            f"its label {recording.label} is not within 0 to {settings.num_classes - 1}, as "
            "`dataset.num_classes` says."
        )
    if not recording.finite:
        return "it holds NaN or infinite values."
    if needs_image and recording.image_shape is None:
        return f"it {NO_IMAGE_SHAPE}"
    return None


def check_fit(settings: Dataset, layout: Layout, pipeline: Pipeline) -> None:
    """Refuse a pipeline that is incompatible with the dataset."""
    if not isinstance(pipeline, GraphPipeline):
        if settings.num_coordinates != 2:
            raise UserError(
                f"`pipeline=heatmap` draws 2D keypoints, but {settings.name} has 3 coordinates; "
                "take a dataset of 2, such as `dataset=demo_out_domain`."
            )
        return
    dimensions = {"image": 2, "box": 2, "frame": 2, "body": 3}.get(pipeline.normalise)
    if dimensions not in (None, settings.num_coordinates):
        raise UserError(
            f"`dataset.normalise={pipeline.normalise}` is for {dimensions} coordinates; this "
            f"dataset has {settings.num_coordinates}."
        )
    if pipeline.normalise == "body" and layout.name != "nturgb+d":
        raise UserError(
            "`dataset.normalise=body` is only for layout nturgb+d; got "
            f"{layout.name}. Use `center` instead."
        )


def check_disjoint(settings: Dataset, annotations: Annotations) -> None:
    """Refuse an evaluation split that shares recordings with `train`, except `train` itself."""
    train = settings.splits.get("train")
    if train is None or train not in annotations.splits:
        return
    seen = set(annotations.splits[train])
    for split, name in settings.splits.items():
        shared = seen & set(annotations.splits.get(name, ())) if name != train else set()
        if shared:
            raise UserError(
                f"{annotations.path}: splits {train!r} and {name!r} (`dataset.splits.{split}`) "
                f"share {len(shared)} recordings, such as {min(shared)!r}."
            )


def _listed_splits(splits: Iterable[str]) -> str:
    names = [repr(split) for split in splits]
    return f"split{'s' if len(names) > 1 else ''} {', '.join(names)}"


def share_of_each_class(
    recordings: Sequence[Recording], share: float, seed: int
) -> Sequence[Recording]:
    """A share of the recordings of each label, at least one each, in order; all if it is 1."""
    if share == 1:
        return recordings
    rng = np.random.default_rng(seed)
    labels = np.array([recording.label for recording in recordings])
    chosen: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen += members[: max(1, round(share * len(members)))].tolist()
    return [recordings[index] for index in sorted(chosen)]


def class_counts(recordings: Sequence[Recording]) -> Counter[int]:
    """The number of recordings of each label."""
    return Counter(recording.label for recording in recordings)
