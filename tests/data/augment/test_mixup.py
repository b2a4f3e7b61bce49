"""Two clips in one."""

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.mixup import Mixup, mixed_clips
from flag3d_exp.data.augment.recipe import recipe
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.problems.classify import Classify


def test_a_mixed_clip_is_the_weighted_mean_where_both_have_the_joint():
    one = np.array([[[1, 2], [3, 4], [0, 0]]], np.float32)
    other = np.array([[[5, 6], [0, 0], [7, 8]]], np.float32)
    expected = [[[2, 3], [3, 4], [0, 0]]]  # the second only in `one`, the third in `other` alone
    np.testing.assert_array_equal(mixed_clips(one, other, 0.75), expected)


def constant(value, label):
    return Recording(f"r{value}", label, np.full((1, 9, 25, 3), value, np.float32))


def test_clips_and_targets_are_mixed_of_the_same_recordings_by_the_same_share():
    data = ClipDataset(
        [constant(10.0**n, n) for n in range(3)],
        GraphPipeline("nturgb+d", clip_len=4),
        Stream("joint"),
        training=True,
        augment=recipe([Mixup(1.0, alpha=1.0)]),
    )
    draws = np.arange(60)
    targets = data.targets_of(draws)
    for draw, label, other, share in zip(draws, *targets.values(), strict=True):
        number, index = divmod(int(draw), 3)
        assert label == index and 0.5 <= share <= 1
        expected = share * 10.0**label + (1 - share) * 10.0**other
        np.testing.assert_allclose(data.clips(index, number), expected, rtol=1e-4)
    assert len(set(targets["other_label"].tolist())) == 3


def test_without_mixup_a_draw_has_its_label_alone():
    data = ClipDataset([constant(1, 0)], GraphPipeline("nturgb+d"), Stream("joint"), training=True)
    assert list(data.targets_of(np.arange(2))) == ["label"]


def test_the_loss_of_a_mixed_clip_is_weighted_by_its_shares():
    from mindspore import Tensor

    criterion = Classify(3, label_smoothing=0.1).criterion({})
    logits = Tensor(np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32))
    first, second = Tensor(np.int32([0, 1])), Tensor(np.int32([2, 1]))
    shares = Tensor(np.float32([0.75, 0.5]))
    one, two = (
        [float(criterion(logits[i : i + 1], labels[i : i + 1])[0].asnumpy()) for i in range(2)]
        for labels in (first, second)
    )
    loss, counts = criterion(logits, first, second, shares)
    expected = (0.75 * one[0] + 0.25 * two[0] + 0.5 * one[1] + 0.5 * two[1]) / 2
    np.testing.assert_allclose(float(loss.asnumpy()), expected, rtol=1e-5)
    assert int(counts[0].asnumpy()) == (logits.asnumpy().argmax(1) == [0, 1]).sum()
