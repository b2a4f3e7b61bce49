"""The clips of one split; training clips are random and differ in each epoch."""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.mixup import mixed_clips
from flag3d_exp.data.augment.recipe import NOTHING, Recipe
from flag3d_exp.data.pipeline import Pipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.faults import Faults

MIXING, SPLICING = 2, 3  # seed mixup and splices independently of other augmentations


@dataclass(frozen=True)
class ClipDataset:
    """The clips of a split, by index of the recording.

    A training clip depends only on (seed, epoch, index), not on earlier draws.

    Args:
        training: draw random clips; otherwise use the fixed test clips.
        digest: SHA-256 of the annotation file.
        augment: random changes of training clips.
    """

    recordings: Sequence[Recording]
    pipeline: Pipeline
    stream: Stream
    seed: int = 0
    training: bool = False
    digest: str = ""
    augment: Recipe = NOTHING

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> np.ndarray:
        """The same as `clips`, in the first pass."""
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
        """The targets of all recordings, `label` (n,).

        If all recordings say where their repetitions are, also `repetitions` (n, R, 2), where -1
        fills up, and `num_frames` (n,).
        """
        return {"label": self.labels} | self._count_targets

    @cached_property
    def _count_targets(self) -> dict[str, np.ndarray]:
        """The targets of counting; {} if a recording does not have them."""
        known = [one.repetitions for one in self.recordings if one.repetitions is not None]
        if not known or len(known) < len(self):
            return {}
        spans = np.full((len(self), max(1, *map(len, known)), 2), -1, np.int64)
        for row, own in zip(spans, known, strict=True):
            row[: len(own)] = own
        lengths = [recording.keypoints.shape[1] for recording in self.recordings]
        return {"repetitions": spans, "num_frames": np.array(lengths, np.int64)}

    def targets_of(self, draws: np.ndarray) -> dict[str, np.ndarray]:
        """The targets of the recordings with these draws (see `loader`), each (N, ...).

        Mixup adds `other_label`, and `share`, the weight of `label`.
        """
        passes, indices = np.divmod(draws, len(self))
        found = {name: known[indices] for name, known in self.targets.items()}
        if not self.training or self.augment.mixup is None:
            return found
        pairs = zip(indices.tolist(), passes.tolist(), strict=True)
        drawn = [self._mixing(index, number) for index, number in pairs]
        others = self.labels[[other for other, _ in drawn]]
        shares = np.array([share for _, share in drawn], np.float32)
        return found | {"other_label": others, "share": shares}

    @property
    def has_scores(self) -> bool:
        """Whether the network's input contains scores and some recording has them."""
        scores = (recording.scores for recording in self.recordings)
        return self.pipeline.score_channel and any(array is not None for array in scores)

    def check_scores(self, needed: bool) -> None:
        """Refuse recordings without scores if the network was trained with scores.

        Args:
            needed: whether it was, that is, `has_scores` of its training split.

        Raises:
            UserError: there are such recordings; the message names them.
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
            number: of the pass over the dataset; it seeds the random changes in training.
        """
        recording = self.recordings[index]
        if not self.training:
            cameras = self.augment.cameras
            seen = recording if cameras is None else cameras.filmed_recording(recording)
            return self.pipeline.test_clips(seen, self.stream)
        clips = self._training_clips(index, number)
        if self.augment.mixup is None:
            return clips
        other, share = self._mixing(index, number)
        return (
            clips if share == 1 else mixed_clips(clips, self._training_clips(other, number), share)
        )

    @cached_property
    def _members(self) -> dict[int, list[Recording]]:
        """The recordings of each label."""
        found: dict[int, list[Recording]] = {}
        for recording in self.recordings:
            found.setdefault(recording.label, []).append(recording)
        return found

    def _training_clips(self, index: int, number: int) -> np.ndarray:
        """(1, M, T, V, C), with all changes except mixup."""
        splice = self.augment.splice
        if splice is None:
            return self._whole_clips(index, number)
        rng = np.random.default_rng((self.seed, number, index, SPLICING))
        clips = self._whole_clips(index, number)
        return splice(clips, lambda other: self._whole_clips(other, number), len(self), rng)

    def _whole_clips(self, index: int, number: int) -> np.ndarray:
        """(1, M, T, V, C) of one recording, with all changes of a single recording."""
        recording = self.recordings[index]
        rng = np.random.default_rng((self.seed, number, index))
        donors = self._members[recording.label] if self.augment.recordings else ()
        return self.pipeline.train_clips(recording, self.stream, rng, self.augment, donors)

    def _mixing(self, index: int, number: int) -> tuple[int, float]:
        """The index of the recording to mix in, and the weight of the first."""
        assert self.augment.mixup is not None
        rng = np.random.default_rng((self.seed, number, index, MIXING))
        return self.augment.mixup.drawn_partner(len(self), rng)
