"""Counting: what the frames of a clip show, what the network sees, and what is learned."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.interface import train
from flag3d_exp.models.c3d_light import C3DLight
from flag3d_exp.models.counter import by_lag
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.models.stgcnpp import STGCNPP
from flag3d_exp.problems.count import Count
from flag3d_exp.problems.count_error import CountError

PACES = [1, 2, 4]
PROBLEM = Count("coco", 2, clip_len=32, paces=PACES, lengths=(4, 14))
PIPELINE = GraphPipeline("coco", clip_len=32, paces=PACES, time_channel=True)


def recording(lengths, pause=0, seed=0, name="a"):
    """A person who goes up and down once in each of the lengths, between two pauses."""
    rng = np.random.default_rng(seed)
    rise = [0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, n, endpoint=False)) for n in lengths]
    depth = np.concatenate([np.zeros(pause), *rise, np.zeros(pause)])
    keypoints = rng.uniform(1, 2, (17, 2)) + depth[:, None, None] * rng.uniform(-1, 1, (17, 2))
    keypoints = (keypoints + rng.normal(0, 0.01, keypoints.shape)).astype(np.float32)[None]
    stops = pause + np.cumsum(lengths)
    spans = np.stack([stops - lengths, stops - 1], 1).astype(np.int64).reshape(-1, 2)
    return Recording(name, 0, keypoints, repetitions=spans)


def dataset(*recordings, training=False):
    return ClipDataset(recordings, PIPELINE, Stream("joint"), training=training)


def perfect(data, index):
    """Outputs (num_clips, T, 2) of a network that is sure of what each frame shows."""
    clips = data.clips(index)
    targets = {key: value[[index] * len(clips)] for key, value in data.targets.items()}
    _, known = PROBLEM.batch(clips, targets, {})
    return np.stack([20 * known["repeating"] - 10, known["log_length"]], -1), clips


def test_a_frame_repeats_if_the_clip_s_pace_suits_the_length():
    targets = {
        "repetitions": np.array([[[8, 15], [16, 31], [60, 99]]]),
        "num_frames": np.array([90]),
    }
    known = PROBLEM.frame_targets(2.0 * np.arange(-2, 50)[None], targets)
    repeating, lengths, judged = (known[key][0] for key in ("repeating", "log_length", "judged"))
    frames = 2 * np.arange(-2, 50)
    inside = (frames >= 8) & (frames < 32)
    np.testing.assert_array_equal(repeating, inside)
    np.testing.assert_allclose(np.exp(lengths[inside]), np.where(frames[inside] < 16, 4, 8))
    # Frames outside the recording are not judged; 20 frames are far above the limit of 14.
    assert not judged[(frames < 0) | (frames >= 90)].any() and judged[inside].all()
    assert judged[(frames >= 32) & (frames < 90)].all()
    near = {"repetitions": np.array([[[0, 31]]]), "num_frames": np.array([90])}
    known = PROBLEM.frame_targets(2.0 * np.arange(32)[None], near)  # 16 frames, the limit is 14
    assert not known["repeating"].any() and not known["judged"][0, :16].any()
    assert known["judged"][0, 16:].all()


@pytest.mark.parametrize(
    ("lengths", "pause"), [([10] * 9, 20), ([40] * 4, 30), ([5] * 30, 0), ([20, 24, 30, 36], 9)]
)
def test_a_perfect_network_counts_rightly(lengths, pause):
    data = dataset(recording(lengths, pause))
    outputs, clips = perfect(data, 0)
    predictions = PROBLEM.predictions(outputs[None], clips[None])
    assert predictions.tolist() == [[len(lengths)]]
    metrics = PROBLEM.metrics(predictions, data.targets)
    assert metrics["mae"] == metrics["loss"] == 0 and metrics["obo"] == 100
    density = PROBLEM.density(outputs, clips, clips_frames(data))
    starts = pause + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    assert np.abs(np.array(density.spans)[:, 0] - starts).max() <= 3
    saved = PROBLEM.arrays_to_save(predictions, data.targets)
    assert saved["counts"].tolist() == saved["true_counts"].tolist() == [len(lengths)]


def clips_frames(data):
    return data.recordings[0].keypoints.shape[1]


def test_nobody_who_stands_still_repeats_anything():
    data = dataset(recording([], 50))
    outputs, clips = perfect(data, 0)
    assert PROBLEM.predictions(outputs[None], clips[None]).tolist() == [[0]]


def test_who_is_not_seen_repeats_nothing_whatever_the_network_says():
    nobody = Recording("a", 0, np.zeros((1, 80, 17, 2), np.float32))
    clips = dataset(nobody).clips(0)
    outputs = np.full((len(clips), 32, 2), 2.0)
    assert PROBLEM.density(outputs, clips, 80).count == 0
    assert (outputs == 2).all()


def test_the_network_does_not_see_the_time():
    clips = dataset(recording([10] * 9)).clips(0)
    inputs = PROBLEM.test_inputs(clips, {})["keypoints"]
    assert inputs.shape == (*clips.shape[:-1], 2)
    np.testing.assert_array_equal(inputs, clips[..., :2])


def test_similarities_are_arranged_by_lag():
    pairs = np.random.default_rng(0).uniform(1, 2, (2, 3, 6, 6)).astype(np.float32)
    found = by_lag(Tensor(pairs), 2).asnumpy()
    assert found.shape == (2, 3, 6, 5)
    for frame in range(6):
        for lag in range(-2, 3):
            other = frame + lag
            expected = pairs[..., frame, other] if 0 <= other < 6 else 0
            np.testing.assert_array_equal(found[..., frame, lag + 2], expected)


@pytest.mark.parametrize(
    "backbone",
    [
        lambda: STGCN("coco", 2, base_channels=4, num_blocks=2, widen_at=()),
        lambda: STGCN("coco", 2, base_channels=4, num_blocks=8),  # a quarter of the frames
        lambda: STGCNPP("coco", 2, base_channels=12, num_blocks=2, widen_at=()),
    ],
)
def test_every_frame_gets_a_logit_and_a_length(backbone):
    clips = dataset(recording([10] * 9)).clips(0)
    network = PROBLEM.network(backbone()).set_train(False)
    found = network(Tensor(PROBLEM.test_inputs(clips, {})["keypoints"])).asnumpy()
    assert found.shape == (len(clips), 32, 2) and np.isfinite(found).all()


def test_the_loss_worked_out_by_hand():
    outputs = np.array([[[0.0, 1.0], [2.0, 3.0], [-50.0, 9.0], [3.0, 0.0]]], np.float32)
    repeating = np.array([[1, 1, 0, 1]], np.float32)
    lengths = np.array([[2.0, 3.5, 0, 0]], np.float32)
    judged = np.array([[1, 1, 1, 0]], np.float32)
    given = [Tensor(one) for one in (outputs, repeating, lengths, judged)]
    loss, counts = CountError(2.0)(*given)
    entropy = (np.log(2) + np.log1p(np.exp(-2.0)) + 0) / 3
    assert float(loss.asnumpy()) == pytest.approx(entropy + 2 * (1 + 0.5) / 2, rel=1e-5)
    named = dict(zip(CountError.counts, [float(one.asnumpy()) for one in counts], strict=True))
    found = CountError(2.0).metrics(named, 1)
    assert found["length_error"] == pytest.approx(0.75)
    assert found["frames"] == pytest.approx(100 * 2 / 3)


@pytest.mark.slow
def test_counting_is_learned():
    ms.set_seed(0)
    rng = np.random.default_rng(0)

    def some(number, offset):
        return dataset(
            *[recording([int(rng.integers(6, 40))] * 6, 20, offset + n, f"{offset + n}")
              for n in range(number)], training=not offset)  # fmt: skip

    backbone = STGCN("coco", 2, base_channels=8, num_blocks=2, widen_at=())
    trained = train(
        backbone, some(24, 0), {"val": some(8, 100)}, epochs=2, repeat=60, batch_size=24, lr=0.05,
        problem=PROBLEM,
    )  # fmt: skip
    assert trained.metrics["val/loss"] < 0.6 * np.log(7)  # that of a count of 0


def test_what_can_not_be_counted_is_refused_in_a_line():
    with pytest.raises(UserError, match=r"pipeline.time_channel=true.*got False and \[1\]"):
        Count("coco", 2, time_channel=False, paces=[1])
    with pytest.raises(UserError, match=r"pipeline.paces=\[...\].*got True and None"):
        Count("coco", 2)
    with pytest.raises(UserError, match=r"problem.lengths` must be two rising.*64; got \[9, 65\]"):
        Count("coco", 2, paces=[1], lengths=(9, 65))
    with pytest.raises(UserError, match="multiple of `problem.heads`; got 64 and 5"):
        Count("coco", 2, paces=[1], heads=5)
    with pytest.raises(UserError, match="1 of 2 in split 'val' lack it, such as 'b'"):
        PROBLEM.check_recordings("val", [recording([4]), Recording("b", 0, np.ones((1, 9, 17, 2)))])
    unknown = ClipDataset([Recording("b", 0, np.ones((1, 9, 17, 2)))], PIPELINE, Stream("joint"))
    with pytest.raises(UserError, match="1 of 1 in split 'val' lack it"):
        backbone = STGCN("coco", 2, base_channels=4, num_blocks=2)
        train(backbone, dataset(recording([4])), {"val": unknown}, problem=PROBLEM)
    with pytest.raises(UserError, match="C3DLight"):
        scored = Count("coco", 3, clip_len=32, paces=PACES, lengths=(4, 14))
        scored.network(C3DLight("coco", base_channels=4, train_size=16, test_size=16))
    with pytest.raises(UserError, match=r"at least 8 frames; STGCN gives 4.*now 16"):
        short = Count("coco", 2, clip_len=16, paces=[1], lengths=(4, 8))
        short.network(STGCN("coco", 2, base_channels=4, num_blocks=8))
