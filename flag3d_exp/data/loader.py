"""Batches of clips, prefetched by the workers of mindspore.dataset.

MindSpore draws no random numbers here: this module shuffles each epoch, and the random changes of
a recording depend only on (seed, pass, index). So neither the number of workers nor resuming
changes the batches.

A *draw* is the number of a recording in a pass over the dataset, counted over the whole run:
`pass * len(dataset) + index`. An epoch is `repeat` passes, one by default.
"""

import os
from collections.abc import Generator
from typing import NamedTuple

import mindspore.dataset as ds
import numpy as np

from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.errors import UserError


class Batch(NamedTuple):
    """N recordings.

    Args:
        clips: (N, num_clips, M, T, V, C) float32.
        labels: (N,) int32.
        indices: (N,) int64 of the recordings in their dataset.
        draws: (N,) int64, see the module's docstring.
    """

    clips: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    draws: np.ndarray


def training_shares(
    num_recordings: int, batch_size: int, seed: int, epoch: int, world: int = 1, repeat: int = 1
) -> np.ndarray:
    """(steps, world, batch_size) draws of each step and rank of an epoch.

    The last step is padded with draws from the start of the epoch, so that all recordings are used.

    Args:
        repeat: number of passes over the recordings, each in a different order.
    """
    passes = range(epoch * repeat, (epoch + 1) * repeat)
    orders = [np.random.default_rng((seed, n)).permutation(num_recordings) for n in passes]
    draws = np.concatenate([n * num_recordings + o for n, o in zip(passes, orders, strict=True)])
    num_steps = -(-len(draws) // (batch_size * world))
    return np.resize(draws, (num_steps, world, batch_size))  # repeats from the start


def batches(
    dataset: ClipDataset,
    draws: np.ndarray,
    batch_size: int,
    num_workers: int = 1,
    skip: int = 0,
) -> Generator[Batch, None, None]:
    """The batches of some draws; the last one may be smaller.

    Args:
        draws: (n,); in the first pass and in an evaluation, these are the recordings' indices.
        num_workers: threads that prepare batches. Processes were slower: a clip takes a fraction
            of a millisecond, and its transfer between processes takes longer.
        skip: number of batches to skip at the start, because they were used before resuming.
    """
    if num_workers < 1:
        raise UserError(f"`num_workers` must be at least 1; got {num_workers}.")
    source = _Batches(dataset, np.asarray(draws, np.int64), batch_size, skip)
    if not len(source):
        return
    workers = min(num_workers, len(source), os.cpu_count() or 1)
    generator = ds.GeneratorDataset(
        source,
        list(Batch._fields),
        shuffle=False,
        num_parallel_workers=workers,
        python_multiprocessing=False,
    )
    try:
        for arrays in generator.create_tuple_iterator(num_epochs=1, output_numpy=True):
            yield Batch(*arrays)
    except RuntimeError as error:
        if source.error is not None:
            raise source.error from error
        raise


class _Batches:
    """Batches by number, as a source for GeneratorDataset."""

    def __init__(self, dataset: ClipDataset, draws: np.ndarray, batch_size: int, skip: int) -> None:
        self.dataset, self.draws, self.batch_size, self.skip = dataset, draws, batch_size, skip
        self.error: Exception | None = None

    def __len__(self) -> int:
        return max(-(-len(self.draws) // self.batch_size) - self.skip, 0)

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        begin = (number + self.skip) * self.batch_size
        draws = self.draws[begin : begin + self.batch_size]
        passes, indices = np.divmod(draws, len(self.dataset))
        try:
            pairs = zip(indices.tolist(), passes.tolist(), strict=True)
            clips = np.stack([self.dataset.clips(index, number) for index, number in pairs])
        except Exception as error:
            self.error = error  # MindSpore would only keep its text
            raise
        return clips, self.dataset.labels[indices].astype(np.int32), indices, draws
