"""The input of each update of a training: clips, targets, and the random numbers for them."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from flag3d_exp.data.loader import Batch, batches, training_shares
from flag3d_exp.devices.ranks import Ranks
from flag3d_exp.engine.step import MicroBatch
from flag3d_exp.engine.train import StepBatch
from flag3d_exp.problems.problem import Problem

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.data.dataset import ClipDataset

CHANCE = 1  # separates the random stream of dropout from that of augmentation


@dataclass(frozen=True)
class Feed:
    """(epoch, number of updates to skip) -> the batches of the epoch's other updates.

    Args:
        batch_size: clips per pass and rank.
        accumulate: passes per update.
        seed: of the order, and of the random numbers that `problem.chance` draws.
        limit: updates per epoch; None for all.
        repeat: passes over the dataset per epoch.
    """

    dataset: "ClipDataset"
    problem: Problem
    network: "nn.Cell"
    batch_size: int
    accumulate: int = 1
    seed: int = 0
    num_workers: int = 1
    limit: int | None = None
    repeat: int = 1
    ranks: Ranks = Ranks()

    def __len__(self) -> int:
        """Updates per epoch."""
        per_update = self.batch_size * self.accumulate * self.ranks.world
        steps = -(-len(self.dataset) * self.repeat // per_update)
        return min(steps, self.limit or steps)

    def __call__(self, epoch: int, done: int = 0) -> Iterator[StepBatch]:
        """The updates of `epoch` after the first `done`."""
        size, count, world = self.batch_size, self.accumulate, self.ranks.world
        own = slice(self.ranks.rank * count, (self.ranks.rank + 1) * count)
        num_recordings = len(self.dataset)
        shares = training_shares(num_recordings, size * count, self.seed, epoch, world, self.repeat)
        draws = shares[: self.limit, self.ranks.rank].reshape(-1)
        loaded = batches(self.dataset, draws, size, self.num_workers, done * count)
        with closing(loaded):
            for number, group in enumerate(batch_groups(loaded, count), done):
                rng = np.random.default_rng((self.seed, epoch, number, CHANCE))
                shape = group[0].clips[:, 0].shape
                drawn = [
                    self.problem.chance(self.network, shape, rng) for _ in range(world * count)
                ]
                parts = []
                for batch, one in zip(group, drawn[own], strict=True):
                    targets = self.dataset.targets_of(batch.draws)
                    parts.append(MicroBatch(*self.problem.batch(batch.clips[:, 0], targets, one)))
                yield StepBatch(parts, shares[number].reshape(-1) % num_recordings)


def batch_groups(loaded: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Consecutive batches in lists of `size`."""
    iterator = iter(loaded)
    while group := list(islice(iterator, size)):
        yield group
