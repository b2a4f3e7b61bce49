"""All augmentations of a run, sorted by stage: the `augment` group of a configuration."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from flag3d_exp.data.augment.affine import Affine
from flag3d_exp.data.augment.camera import VirtualCameras
from flag3d_exp.data.augment.clip import Augmentation, Clip
from flag3d_exp.data.augment.frames import Frames
from flag3d_exp.data.augment.mirror import Mirror
from flag3d_exp.data.augment.mixup import Mixup
from flag3d_exp.data.augment.splice import Splice
from flag3d_exp.errors import UserError

SIDES = re.compile(r"\b(left|right)\b")


@dataclass(frozen=True)
class Recipe:
    """Augmentations in the order in which they are applied.

    Args:
        frames: chooses the frames of a clip.
        recordings: changes of the recorded joints.
        clips: changes of the network's input.
        splice: shows another recording at a clip's start or end; None: clips are whole.
        mixup: mixes two clips; None: clips are not mixed.
    """

    frames: Frames = Frames()
    recordings: tuple[Augmentation, ...] = ()
    clips: tuple[Augmentation, ...] = ()
    splice: Splice | None = None
    mixup: Mixup | None = None

    @cached_property
    def cameras(self) -> VirtualCameras | None:
        """The virtual cameras that project 3D recordings to 2D; None if there are none."""
        found = (step for step in self.recordings if isinstance(step, VirtualCameras))
        return next((one for one in found if one.recorded is not None), None)

    def changed_recording(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The recorded joints after the changes of recordings."""
        if self.cameras is not None and clip.poses.keypoints.shape[-1] == 3:
            clip = replace(clip, layout=self.cameras.skeleton)
        for change in self.recordings:
            clip = change(clip, rng)
        return clip

    def changed_clip(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The network's clip after the changes of clips."""
        for change in self.clips:
            clip = change(clip, rng)
        return clip

    def check_fit(self, num_coordinates: int) -> None:
        """Refuse active augmentations that need another number of coordinates.

        Raises:
            UserError: there is one; the message names it.
        """
        num_now = 3 if self.cameras is not None else num_coordinates  # as they are recorded
        for change in (*self.recordings, *self.clips):
            wanted = getattr(change, "dimensions", None)
            is_off = not getattr(change, "probability", 1) or not getattr(change, "recorded", 1)
            if wanted not in (None, num_now) and not is_off:
                raise UserError(
                    f"`augment`: {type(change).__name__} is for {wanted} coordinates; this dataset "
                    f"has {num_now}{' before the cameras' if num_now > num_coordinates else ''}."
                )
            if num_now == 2 and isinstance(change, Affine):
                change.check_flat()
            if change is self.cameras:
                num_now = 2

    def doubts(self, classes: Sequence[str]) -> list[str]:
        """Warnings about the recipe for classes of these names, a sentence each."""
        sided = [name for name in classes if len(set(SIDES.findall(name.lower()))) == 1]
        probability = max((c.probability for c in self.clips if isinstance(c, Mirror)), default=0)
        if not sided or not probability:
            return []
        return [
            f"`augment.mirror.probability={probability:g}` exchanges left and right, but "
            f"classes name a side: {len(sided)}, such as {sided[0]!r}."
        ]


NOTHING = Recipe()
PAIRED = ("splice", "pair")  # stages that take a second recording
STAGES = ("frames", "recording", "clip", *PAIRED)


def recipe(steps: Mapping[str, Any] | Sequence[Any]) -> Recipe:
    """The recipe of a list of augmentations, or of a mapping from names; None is skipped.

    Raises:
        UserError: there are two for frames, splice or mixup, or an object is not an augmentation.
    """
    named = steps.items() if isinstance(steps, Mapping) else enumerate(steps)
    found: dict[str, list[Any]] = {name: [] for name in STAGES}
    for name, step in named:
        if step is None:
            continue
        stage = getattr(step, "stage", "clip")
        if stage not in found or not callable(step) and stage != "pair":
            raise UserError(
                f"`augment.{name}` must be an augmentation, which is called with a clip and a "
                f"generator and whose `stage` is one of {', '.join(found)}; got {step!r}."
            )
        found[stage].append(step)
    for stage in ("frames", *PAIRED):
        if len(found[stage]) > 1:
            names = " and ".join(type(step).__name__ for step in found[stage])
            raise UserError(f"`augment` may have one augmentation of {stage}; got {names}.")
    return Recipe(
        found["frames"][0] if found["frames"] else Frames(),
        tuple(found["recording"]),
        tuple(found["clip"]),
        *(next((one for one in found[stage] if one.probability), None) for stage in PAIRED),
    )
