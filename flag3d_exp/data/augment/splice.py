"""Another recording at a clip's start or end, as windows of long recordings show it.

This is CutMix (Yun et al., ICCV 2019) along time. The label stays, since most of the clip shows it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.augment.clip import happens
from flag3d_exp.errors import UserError


@dataclass(frozen=True)
class Splice:
    """Replace a clip's first frames by the last ones of another clip, or its last by the first.

    A network that learns this finds the borders between the actions of a long recording better,
    because it names the action in the middle of a window.

    Args:
        probability: of changing a clip.
        share: range of the share of the clip that is replaced, below one half.
    """

    probability: Annotated[float, ">= 0, <= 1"] = 0.0
    share: tuple[float, float] = (0.1, 0.45)

    stage = "splice"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.splice")
        bounds.check_rising("augment.splice.share", self.share, 0, 0.5)
        if self.share[1] == 0.5:
            raise UserError(
                "`augment.splice.share` must be below 0.5, or half of a clip would show another "
                f"action; got {list(self.share)}."
            )

    def __call__(
        self,
        clips: np.ndarray,
        clips_of: Callable[[int], np.ndarray],
        num_recordings: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """The changed clips (..., T, V, C).

        Args:
            clips_of: gives the clips of a recording by its index.
        """
        if not happens(self.probability, rng):
            return clips
        others = clips_of(int(rng.integers(num_recordings)))
        num_frames = clips.shape[-3]
        replaced = round(rng.uniform(*self.share) * num_frames)
        if rng.random() < 0.5:
            return spliced(others, clips, replaced)
        return spliced(clips, others, num_frames - replaced)


def spliced(first: np.ndarray, then: np.ndarray, border: int) -> np.ndarray:
    """The last `border` frames of `first`, and after them the first frames of `then`.

    Args:
        first, then: (..., T, V, C).
    """
    num_frames = first.shape[-3]
    parts = first[..., num_frames - border :, :, :], then[..., : num_frames - border, :, :]
    return np.concatenate(parts, axis=-3)
