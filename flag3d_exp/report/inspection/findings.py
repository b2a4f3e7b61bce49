"""Findings about a dataset: errors, warnings and notes, with the recordings concerned."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from flag3d_exp.data.annotations import Annotations, Recording
from flag3d_exp.data.folds import subject
from flag3d_exp.data.pipeline import Pipeline
from flag3d_exp.data.source import Dataset, check_disjoint, check_fit, class_counts, fault
from flag3d_exp.errors import UserError
from flag3d_exp.report.inspection.measures import Measures, measure
from flag3d_exp.skeletons.layout import Layout

# 1.0 to 1.7 in the median of NTU RGB+D and COCO skeletons; 2.4 to 4.2 with the joints shuffled.
MAX_DETOUR = 2.0
Severity = Literal["error", "warning", "note"]
Splits = Mapping[str, Sequence[Recording]]


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Args:
        severity: error: training would be wrong; warning: it may be wrong; note: information.
        check: the property that was checked.
        text: the result, as a sentence.
        recordings: names of the recordings concerned.
    """

    severity: Severity
    check: str
    text: str
    recordings: tuple[str, ...] = ()


def inspect(
    settings: Dataset, annotations: Annotations, pipeline: Pipeline, layout: Layout
) -> tuple[list[Finding], Splits]:
    """All findings, worst first, and the recordings of each split that can be shown."""
    found, splits = _splits(settings, annotations)
    for check in (
        lambda: check_disjoint(settings, annotations),
        lambda: check_fit(settings, layout, pipeline),
    ):
        try:
            check()
        except UserError as error:
            found.append(Finding("error", "settings", str(error)))
    usable = {}
    for split, recordings in splits.items():
        faults = {r.name: fault(r, settings, layout, pipeline.needs_image) for r in recordings}
        found += _grouped(split, faults)
        usable[split] = [recording for recording in recordings if faults[recording.name] is None]
    measures = {
        recording.name: measure(recording, settings.layout_of(recording), settings.score_threshold)
        for recordings in usable.values()
        for recording in recordings
    }
    found += _names(annotations)
    found += _labels(settings, splits)
    found += _subjects(splits)
    found += _repeats(usable, measures)
    found += _frames(settings, pipeline, measures)
    found += _missing(settings, layout, measures)
    found += _coordinates(as_recorded(settings), measures)
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity)), usable


def as_recorded(settings: Dataset) -> Dataset:
    """The settings for the recordings in the file, before cameras project them."""
    if settings.recorded_layout is None:
        return settings
    return replace(settings, layout=settings.recorded_layout, num_channels=3, score_channel=False)


def _splits(settings: Dataset, annotations: Annotations) -> tuple[list[Finding], Splits]:
    found, splits = [], {}
    for split, name in settings.splits.items():
        try:
            splits[split] = annotations.recordings(name)
        except UserError as error:
            found.append(Finding("error", "splits", f"`dataset.splits.{split}`: {error}"))
    return found, splits


def _grouped(split: str, faults: Mapping[str, str | None]) -> list[Finding]:
    """One finding for each kind of fault in a split."""
    names = defaultdict(list)
    for name, text in faults.items():
        if text is not None:
            names[text].append(name)
    return [
        Finding("error", "recordings", f"{_count(members)} of {split}: {text}", tuple(members))
        for text, members in names.items()
    ]


def _names(annotations: Annotations) -> list[Finding]:
    used = {name for names in annotations.splits.values() for name in names}
    unused = [recording.name for recording in annotations.all if recording.name not in used]
    if not unused:
        return []
    return [Finding("note", "splits", f"{_count(unused)} in no split.", tuple(unused))]


def _labels(settings: Dataset, splits: Splits) -> list[Finding]:
    found = []
    counts = {split: class_counts(recordings) for split, recordings in splits.items()}
    train = counts.get("train", Counter())
    for split, counted in counts.items():
        absent = sorted(set(counted) - set(train))
        if split != "train" and train and absent:
            text = f"{split} has classes that train lacks: {_listed(absent)}."
            names = tuple(r.name for r in splits[split] if r.label in absent)
            found.append(Finding("error", "labels", text, names))
    unused = sorted(set(range(settings.num_classes)) - set().union(*counts.values()))
    if unused and counts:
        text = f"no recording has a label of {_listed(unused)} (`dataset.num_classes`)."
        found.append(Finding("warning", "labels", text))
    if train and max(train.values()) > 5 * min(train.values()):
        most, least = train.most_common()[0], train.most_common()[-1]
        text = f"train is unbalanced: label {most[0]} {most[1]} times, {least[0]} {least[1]} times."
        found.append(Finding("warning", "labels", text))
    return found


def _subjects(splits: Splits) -> list[Finding]:
    found = []
    persons = {
        split: {subject(recording) for recording in recordings} - {None}
        for split, recordings in splits.items()
    }
    for one, other in combinations(splits, 2):
        shared = sorted(filter(None, persons[one] & persons[other]))
        if "train" in (one, other) and shared:
            text = f"{one} and {other} have subjects in common: {_listed(shared)}."
            found.append(Finding("warning", "subjects", text))
    return found


def _repeats(splits: Splits, measures: Mapping[str, Measures]) -> list[Finding]:
    """Findings about recordings with equal coordinates and different names."""
    names = defaultdict(set)
    for name, measured in measures.items():
        names[measured.content].add(name)
    train = {recording.name for recording in splits.get("train", ())}
    repeats = [sorted(members) for members in names.values() if len(members) > 1]
    leaks = [members for members in repeats if 0 < len(train & set(members)) < len(members)]
    found = []
    if leaks:
        flat = tuple(name for members in leaks for name in members)
        text = f"{len(leaks)} recordings are in train and, under another name, in another split."
        found.append(Finding("error", "repeats", text, flat))
    if harmless := [members for members in repeats if members not in leaks]:
        flat = tuple(name for members in harmless for name in members)
        text = f"{len(harmless)} recordings occur under several names."
        found.append(Finding("warning", "repeats", text, flat))
    return found


def _frames(
    settings: Dataset, pipeline: Pipeline, measures: Mapping[str, Measures]
) -> Iterator[Finding]:
    if not measures:
        return
    lengths = np.array([measured.num_frames for measured in measures.values()])
    text = f"{lengths.min()} to {lengths.max()} frames, median {np.median(lengths):.0f}."
    yield Finding("note", "frames", text)
    yield from _concerning(
        "note",
        "frames",
        measures,
        lambda m: m.num_frames < pipeline.clip_len,
        f"shorter than `pipeline.clip_len={pipeline.clip_len}`: their frames are repeated.",
    )
    yield from _concerning(
        "warning",
        "frames",
        measures,
        lambda m: m.zero >= 0.2,
        "without a joint in at least a fifth of the frames.",
    )
    yield from _concerning(
        "warning",
        "frames",
        measures,
        lambda m: m.frozen >= 0.5,
        "frozen for at least half of the frames.",
    )
    yield from _concerning(
        "note",
        "persons",
        measures,
        lambda m: m.num_persons > settings.num_persons,
        f"with more persons than `dataset.num_persons={settings.num_persons}`.",
    )


def _missing(
    settings: Dataset, layout: Layout, measures: Mapping[str, Measures]
) -> Iterator[Finding]:
    most = max((measured.missing for measured in measures.values()), default=0.0)
    yield from _concerning(
        "note",
        "missing",
        measures,
        lambda m: m.missing >= 0.01,
        f"with missing joints, up to {100 * most:.0f} % in a recording; the input is 0 for them.",
    )
    if settings.normalise == "center":
        yield from _concerning(
            "warning",
            "missing",
            measures,
            lambda m: not m.centered,
            f"without the centre joint, {layout.joints[layout.center]!r}, in any frame: "
            "`dataset.normalise=center` does not move them.",
        )


def _coordinates(settings: Dataset, measures: Mapping[str, Measures]) -> Iterator[Finding]:
    detour = float(np.median([m.bone_detour for m in measures.values()])) if measures else 1.0
    if detour > MAX_DETOUR:
        text = (
            f"the bones of layout {settings.layout} are {detour:.1f} times as long as the shortest "
            "tree through the joints: are the joints in another order?"
        )
        yield Finding("warning", "layout", text)
    if settings.num_coordinates == 3:
        lengths = [m.bone_length for m in measures.values() if m.bone_length]
        usual = float(np.median(lengths)) if lengths else 0.0
        yield from _concerning(
            "warning",
            "bones",
            measures,
            lambda m: m.bone_spread >= 0.25,
            "with bone lengths that vary by a quarter or more: too much noise?",
        )
        yield from _concerning(
            "warning",
            "bones",
            measures,
            lambda m: not 1 / 3 <= m.bone_length / usual <= 3,
            f"with bones under 1/3 or over 3 times the usual length ({usual:.3g}): another unit?",
        )
    else:
        yield from _concerning(
            "warning",
            "image",
            measures,
            lambda m: m.outside >= 0.1,
            "with at least a tenth of the joints outside the image: wrong `image_shape`?",
        )
        yield from _concerning(
            "warning",
            "image",
            measures,
            lambda m: m.extent < 2,
            "whose coordinates are all below 2: not pixels?",
        )
    yield from _concerning(
        "warning",
        "scores",
        measures,
        lambda m: m.scores is not None and not 0 <= m.scores[0] <= m.scores[1] <= 1,
        "with scores outside 0 to 1.",
    )
    if settings.score_channel:
        yield from _concerning(
            "warning",
            "scores",
            measures,
            lambda m: m.scores is None,
            "without scores: 1 is used.",
        )


def _concerning(
    severity: Severity,
    check: str,
    measures: Mapping[str, Measures],
    holds: Callable[[Measures], bool],
    text: str,
) -> Iterator[Finding]:
    """A finding about the recordings that meet a condition, if there are any."""
    names = tuple(name for name, measured in measures.items() if holds(measured))
    if names:
        yield Finding(severity, check, f"{_count(names)} {text}", names)


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} recording{'s' if len(names) != 1 else ''}"


def _listed(values: Sequence[object], most: int = 8) -> str:
    shown = ", ".join(map(str, values[:most]))
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"
