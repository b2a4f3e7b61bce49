"""A clip with another recording at its start or end."""

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.recipe import recipe
from flag3d_exp.data.augment.splice import Splice, spliced
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.problems.classify import Classify
from flag3d_exp.problems.count import Count
from flag3d_exp.tasks.train import check_augment


def frames(first, last):
    """A clip (1, 1, T, 1, 1) of these numbers."""
    return np.arange(first, last + 1, dtype=np.float32).reshape(1, 1, -1, 1, 1)


def test_the_last_frames_of_one_clip_come_before_the_first_of_the_other():
    found = spliced(frames(1, 5), frames(11, 15), 2)
    assert found.shape == (1, 1, 5, 1, 1)
    assert found.ravel().tolist() == [4, 5, 11, 12, 13]


@pytest.fixture
def dataset():
    """Recordings whose coordinates are 10 to the power of their label."""
    recordings = [
        Recording(f"r{n}", n, np.full((1, 30, 25, 3), 10.0**n, np.float32)) for n in range(3)
    ]

    def made(*steps):
        pipeline = GraphPipeline("nturgb+d", clip_len=20)
        return ClipDataset(recordings, pipeline, Stream("joint"), training=True,
                           augment=recipe(list(steps)))  # fmt: skip

    return made


def test_most_of_a_clip_shows_its_own_recording_and_the_rest_is_at_one_end(dataset):
    data = dataset(Splice(1.0, (0.1, 0.45)))
    shares, starts = [], []
    for draw in range(90):
        number, index = divmod(draw, 3)
        clip = data.clips(index, number)[0, 0, :, 0, 0]
        own = clip == 10.0**index
        assert own.mean() >= 0.55 and np.abs(np.diff(own.astype(int))).sum() <= 1
        assert len(np.unique(clip[~own])) <= 1
        if not own.all():  # the other recording is another one
            shares.append(1 - own.mean())
            starts.append(bool(own[-1]))
        np.testing.assert_array_equal(data.clips(index, number)[0, 0, :, 0, 0], clip)
    assert min(shares) > 0.09 and max(shares) > 0.35
    assert 0.2 < np.mean(starts) < 0.8
    assert data.targets_of(np.arange(3)).keys() == {"label"}


def test_a_switched_off_splice_changes_no_bit(dataset):
    plain, off = dataset(), dataset(Splice(0.0))
    assert off.augment.splice is None
    np.testing.assert_array_equal(plain.clips(1, 4), off.clips(1, 4))


@pytest.mark.parametrize("share", [(0.1, 0.5), (0.0, 0.3), (0.4, 0.2), (0.1, 0.7)])
def test_shares_that_leave_no_majority_are_refused(share):
    with pytest.raises(UserError, match=r"`augment.splice.share` must be"):
        Splice(0.5, share)


def test_only_problems_of_class_labels_may_splice():
    check_augment(recipe([Splice(0.5)]), Classify(3))
    with pytest.raises(UserError, match=r"`augment.splice` shows another recording"):
        check_augment(recipe([Splice(0.5)]), Count("coco", 3, paces=[1.0]))
