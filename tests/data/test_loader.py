"""Orders of epochs and batches of clips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.affine import Affine
from flag3d_exp.data.augment.bones import BoneLengths
from flag3d_exp.data.augment.drop import DropJoints, DropStretch
from flag3d_exp.data.augment.frames import Frames
from flag3d_exp.data.augment.mirror import Mirror
from flag3d_exp.data.augment.mixup import Mixup
from flag3d_exp.data.augment.noise import DetectorNoise
from flag3d_exp.data.augment.recipe import recipe
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.loader import batches, training_shares
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError


@pytest.fixture
def dataset():
    """23 recordings of different lengths, drawn from with every augmentation."""
    draw = np.random.default_rng(0)
    recordings = [
        Recording(f"r{n}", n % 3, draw.normal(size=(1, 20 + n, 25, 3)).astype(np.float32))
        for n in range(23)
    ]
    augment = recipe(
        [
            Frames(tempo=0.3),
            BoneLengths(0.5),
            DetectorNoise(0.5),
            Affine(0.3, 0.1),
            Mirror(0.5),
            DropJoints(0.1),
            DropStretch(0.5),
            Mixup(0.5),
        ]
    )
    pipeline = GraphPipeline("nturgb+d", clip_len=8)
    return ClipDataset(
        recordings, pipeline, Stream("joint"), seed=5, training=True, augment=augment
    )


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for array, same in zip(one, other, strict=True):
            assert array.dtype == same.dtype
            np.testing.assert_array_equal(array, same)


@given(st.integers(1, 200), st.integers(1, 16), st.integers(0, 99), st.integers(1, 4))
def test_an_epoch_has_every_recording_in_full_batches(num_recordings, batch_size, epoch, world):
    shares = training_shares(num_recordings, batch_size, 0, epoch, world)
    assert shares.shape[1:] == (world, batch_size)
    assert shares.size < num_recordings + batch_size * world
    assert set((shares.ravel() - epoch * num_recordings).tolist()) == set(range(num_recordings))
    # The ranks' batches of a step, side by side, are the batch of a single process.
    single = training_shares(num_recordings, batch_size * world, 0, epoch)
    np.testing.assert_array_equal(shares.ravel(), single.ravel())


@given(st.integers(1, 50), st.integers(1, 16), st.integers(0, 9), st.integers(1, 5))
def test_an_epoch_of_several_passes_is_those_passes_in_a_row(num, batch_size, epoch, repeat):
    draws = training_shares(num, batch_size, 7, epoch, repeat=repeat).ravel()
    alone = [
        training_shares(num, num, 7, number).ravel()
        for number in range(epoch * repeat, (epoch + 1) * repeat)
    ]
    np.testing.assert_array_equal(draws[: num * repeat], np.concatenate(alone))
    assert draws.size < num * repeat + batch_size


def test_epochs_and_seeds_have_different_orders():
    orders = [training_shares(50, 10, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({(order % 50).tobytes() for order in orders}) == 4
    np.testing.assert_array_equal(orders[1], training_shares(50, 10, 0, 1))


def test_batches_hold_the_clips_of_their_indices(dataset):
    order = np.arange(23)[::-1]
    found = list(batches(dataset, 3 * 23 + order, batch_size=5))
    assert [len(batch.labels) for batch in found] == [5, 5, 5, 5, 3]
    assert found[0].clips.shape == (5, 1, 1, 8, 25, 3)
    assert (found[0].clips.dtype, found[0].labels.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(np.concatenate([batch.indices for batch in found]), order)
    for batch in found:
        np.testing.assert_array_equal(batch.labels, dataset.labels[batch.indices])
        clips = np.stack([dataset.clips(index, 3) for index in batch.indices])
        np.testing.assert_array_equal(batch.clips, clips)


@pytest.mark.parametrize("num_workers", [2, 4])
def test_workers_do_not_change_the_batches(dataset, num_workers):
    order = training_shares(23, 5, seed=5, epoch=1).ravel()
    alone = list(batches(dataset, order, 5))
    assert_equal(list(batches(dataset, order, 5, num_workers=num_workers)), alone)


def test_resuming_within_an_epoch_gives_the_batches_left(dataset):
    order = training_shares(23, 5, seed=5, epoch=1).ravel()
    whole = list(batches(dataset, order, 5))
    assert_equal(list(batches(dataset, order, 5, skip=2)), whole[2:])
    assert list(batches(dataset, order, 5, skip=5)) == []


def test_an_iteration_can_be_left_early(dataset):
    order = training_shares(23, 5, seed=5, epoch=1).ravel()
    expected = list(batches(dataset, order, 5))[:2]
    found = []
    for batch in batches(dataset, order, 5, num_workers=2):
        found.append(batch)
        if len(found) == 2:
            break
    assert_equal(found, expected)


def test_an_error_in_a_recording_reaches_the_user(dataset):
    flat = ClipDataset(
        [Recording("flat", 0, np.zeros((1, 9, 17, 2), np.float16))],
        GraphPipeline("coco", normalise="image"),
        Stream("joint"),
    )
    with pytest.raises(UserError, match="recording 'flat' has no `image_shape`"):
        list(batches(flat, np.arange(1), 1))


def test_no_worker_is_refused(dataset):
    with pytest.raises(UserError, match="`num_workers` must be at least 1; got 0"):
        list(batches(dataset, np.arange(3), 1, num_workers=0))
