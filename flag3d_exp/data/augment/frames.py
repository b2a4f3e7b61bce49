"""Choice of a training clip's frames: a temporal crop and a change of tempo."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data.sampling import clip_indices, warped_frames


@dataclass(frozen=True)
class Frames:
    """Temporal crop and tempo.

    A crop to 70 to 100 % did better than smaller ones on unseen data (Recover and Resample,
    NeurIPS 2024).

    Args:
        part: range of the share of the recording that the crop keeps.
        tempo: largest relative change of speed, 0 to below 1: one half of the clip is faster, the
            other slower.
    """

    part: tuple[float, float] = (1.0, 1.0)
    tempo: Annotated[float, ">= 0, < 1"] = 0.0

    stage = "frames"

    def __post_init__(self) -> None:
        bounds.check(self, "augment.frames")
        bounds.check_rising("augment.frames.part", self.part, 0, 1)

    def __call__(self, num_frames: int, clip_len: int, rng: np.random.Generator) -> np.ndarray:
        """(clip_len,) indices into the frames of a recording of `num_frames`."""
        indices = clip_indices(num_frames, clip_len, rng, self.part)
        if not self.tempo:
            return indices
        return warped_frames(indices, num_frames, rng.uniform(-self.tempo, self.tempo))
