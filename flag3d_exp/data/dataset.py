"""Recordings of one split as clips, drawn anew each epoch."""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.pipeline import Pipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.faults import Faults


@dataclass(frozen=True)
class ClipDataset:
    """The clips of a split, by the index of their recording.

    A training clip depends on (seed, epoch, index) alone, not on what was drawn before it.

    Args:
        training: draw random clips; otherwise the fixed ones of a test.
        digest: SHA-256 of the file that the recordings are from.
    """

    recordings: Sequence[Recording]
    pipeline: Pipeline
    stream: Stream
    seed: int = 0
    training: bool = False
    digest: str = ""

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> np.ndarray:
        """As `clips`, in the first pass."""
        return self.clips(range(len(self))[index])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The recordings' names, in order."""
        return tuple(recording.name for recording in self.recordings)

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int64."""
        return np.array([recording.label for recording in self.recordings], np.int64)

    @property
    def targets(self) -> dict[str, np.ndarray]:
        """What is known of each recording, `label` (n,)."""
        return {"label": self.labels}

    @property
    def scored(self) -> bool:
        """Whether scores are part of the network's input, and known of some recording."""
        scores = (recording.scores for recording in self.recordings)
        return self.pipeline.score_channel and any(array is not None for array in scores)

    def check_scores(self, needed: bool) -> None:
        """Refuse recordings without scores where the network is trained with them.

        Args:
            needed: whether it is: `scored` of its training split.

        Raises:
            UserError: naming the recordings.
        """
        faults = Faults()
        for recording in self.recordings if needed else ():
            if recording.scores is None:
                reason = "it has no `scores`, which the network is trained with."
                faults.add(reprlib.repr(recording.name), reason)
        faults.refuse("")

    def clips(self, index: int, number: int = 0) -> np.ndarray:
        """(num_clips, M, T, V, C) float32 of one recording.

        Args:
            number: of the pass over the dataset, which decides what is drawn in training.
        """
        recording = self.recordings[index]
        if not self.training:
            return self.pipeline.test_clips(recording, self.stream)
        rng = np.random.default_rng((self.seed, number, index))
        return self.pipeline.train_clips(recording, self.stream, rng)
