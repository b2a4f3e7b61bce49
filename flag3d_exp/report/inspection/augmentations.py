"""A sheet that shows the effect of each augmentation, and of all together, on a recording.

Sizes: M persons, T frames, V joints, C channels.
"""

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.mixup import mixed_clips
from flag3d_exp.data.augment.recipe import Recipe
from flag3d_exp.data.augment.splice import spliced
from flag3d_exp.data.pipeline import GraphPipeline, Pipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.data.upright import upward_axis
from flag3d_exp.report.figures import shorten
from flag3d_exp.report.inspection.pictures import NUM_POSES, draw_row
from flag3d_exp.report.lettering import lettering

NUM_DRAWS = 3  # number of clips with all augmentations
Row = tuple[str, Recording]


def rows(
    recording: Recording, donors: Sequence[Recording], pipeline: Pipeline, augment: Recipe
) -> list[Row]:
    """Titles and clips of joints: unchanged, with each augmentation alone, and with all of them.

    Augmentations with a probability are always applied; those that are switched off are left out.

    Args:
        donors: recordings of the same class.
    """
    if isinstance(pipeline, GraphPipeline) and pipeline.normalise in ("image", "box"):
        pipeline = replace(pipeline, normalise="none")  # pictures keep their proportions

    def clip(recipe: Recipe, draw: int = 0, of: Recording = recording) -> np.ndarray:
        rng = np.random.default_rng(draw)
        return pipeline.train_clips(of, Stream("joint"), rng, recipe, donors)[0]

    cameras = augment.cameras  # without cameras, 3D recordings do not match the network
    plain = Recipe(recordings=() if cameras is None else (cameras,))
    found = [("unchanged" if cameras is None else "seen by a camera", clip(plain))]
    if cameras is not None:
        found += [(f"by camera {draw + 1}", clip(plain, draw)) for draw in (1, 2, 3)]
    alone = [("Frames", replace(plain, frames=augment.frames))]
    for step in augment.recordings:
        if step is not cameras:
            steps = tuple(for_certain(s) for s in augment.recordings if s in (step, cameras))
            alone.append((type(step).__name__, replace(plain, recordings=steps)))
    for step in augment.clips:
        alone.append((type(step).__name__, replace(plain, clips=(for_certain(step),))))
    for name, recipe in alone:
        changed = clip(recipe)
        if changed.shape != found[0][1].shape or (changed != found[0][1]).any():
            found.append((name, changed))
    if augment.splice is not None:
        other = clip(plain, of=donors[-1])
        border = round(augment.splice.share[1] * other.shape[-3])
        found.append(
            ("Splice, another recording at the start", spliced(other, clip(plain), border))
        )
    if augment.mixup is not None:
        both = mixed_clips(clip(plain), clip(plain, of=donors[-1]), 0.6)
        found.append(("Mixup, 60 % of this clip and 40 % of another", both))
    for draw in range(NUM_DRAWS if len(found) > 1 else 0):
        found.append((f"all, draw {draw + 1}", clip(augment, draw)))
    return [(name, as_recording(array, pipeline.score_channel)) for name, array in found]


def for_certain(step: Any) -> Any:
    """The augmentation with probability 1, if it has a probability and is not switched off.

    The probability of `DropJoints` is not changed, since it is the share of lost joints.
    """
    if not is_dataclass(step) or not getattr(step, "probability", 0):
        return step
    if type(step).__name__ == "DropJoints":
        return step
    return replace(step, probability=1.0)  # type: ignore[call-arg]


def as_recording(clip: np.ndarray, scored: bool) -> Recording:
    """The clip (M, T, V, C) as a recording for pictures."""
    keypoints = clip[..., :-1] if scored else clip
    return Recording("", 0, keypoints, clip[..., -1] if scored else None)


@lettering()
def sheet(title: str, shown: Sequence[Row], pipeline: Pipeline) -> Figure:
    """A figure with a row of poses for each clip."""
    layout = pipeline.skeleton
    up = upward_axis([shown[0][1]], layout)
    height = 1.42 * len(shown) + 0.4
    figure = Figure(figsize=(1.25 * NUM_POSES + 0.2, height))
    (rows,) = figure.subplots(len(shown), 1, squeeze=False).T
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.55 / height, hspace=0.2)
    figure.suptitle(shorten(title, 100), fontsize=10, x=0.01, y=1 - 0.08 / height, ha="left")
    for row, (name, recording) in zip(rows, shown, strict=True):
        row.set_title(name, fontsize=8, loc="left")
        draw_row(row, recording, layout, up)
    return figure
