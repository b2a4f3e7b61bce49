"""SkateFormer's order of joints, its windows and what it draws at random."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from models.oracle import Oracle
from networks import OTHERS, classifier

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.models.attention import Partition, from_windows, windows
from flag3d_exp.models.skateformer import SkateFormer
from flag3d_exp.models.skateformer_inputs import LIMBS
from flag3d_exp.problems.classify import Classify
from flag3d_exp.problems.cross_entropy import CrossEntropy

SMALL = OTHERS[SkateFormer]
SHAPE = (2, 1, 8, 25, 3)


@pytest.mark.parametrize("name", ["skateformer", "skateformer_ucla"])
def test_the_loss_with_smoothed_labels_equals_the_reference(shared, name):
    oracle = Oracle(shared / "parity", name)
    logits = Tensor(oracle.arrays["train_logits_step1"])
    labels = Tensor(oracle.arrays["labels"].astype(np.int32))
    loss, _ = CrossEntropy(label_smoothing=0.1)(logits, labels)
    expected = oracle.meta["train_loss_step1_label_smoothing_0.1"]
    assert float(loss.asnumpy()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("frames", "joints"), [(False, False), (False, True), (True, False), (True, True)]
)
def test_windows_hold_the_tokens_that_their_partition_says(frames, joints):
    t, v = 8, 6
    tokens = np.stack(np.meshgrid(np.arange(t), np.arange(v), indexing="ij"), -1)
    partition = Partition(4, 3, frames, joints)
    x = Tensor(np.stack([tokens, tokens + 100]).astype(np.float32))
    found = windows(x, partition)
    assert found.shape == (2 * 4, 12, 2)
    np.testing.assert_array_equal(from_windows(found, partition, (2, t, v)).asnumpy(), x.asnumpy())
    members = found.asnumpy()[1]  # the second window of the first clip
    own_frames = [1, 3, 5, 7] if frames and v == 3 else sorted({*members[:, 0].astype(int)})
    own_joints = [1, 3, 5] if joints else [3, 4, 5]
    assert own_frames == ([0, 2, 4, 6] if frames else [0, 1, 2, 3])
    expected = [(frame, joint) for frame in own_frames for joint in own_joints]
    np.testing.assert_array_equal(members, expected)


def test_the_orders_of_joints_have_each_joint_once_and_divide_into_windows():
    for order, sizes in LIMBS.values():
        assert len(set(order)) == len(order)
        assert all(len(order) % size == 0 for size in sizes)


def test_an_order_of_ones_own_is_by_name_or_number():
    names = ["left_wrist", "left_elbow", "right_elbow", "right_wrist"]
    model = SkateFormer("coco", joint_order=names, window_joints=(2, 4), **SMALL)
    assert model.order == (9, 7, 8, 10)
    with pytest.raises(UserError, match="`model.joint_order` must name joints of layout coco"):
        SkateFormer("coco", joint_order=["tail"], **SMALL)
    with pytest.raises(UserError, match=r"two numbers that divide 15 joints; got \[4, 5\]"):
        SkateFormer("coco", window_joints=(4, 5), **SMALL)


def test_clips_that_do_not_divide_into_windows_are_refused():
    with pytest.raises(UserError, match="`dataset.clip_len` must be a multiple of 64 .*; got 100"):
        SkateFormer("nturgb+d", clip_len=100)


def test_scores_depend_on_the_time_of_the_frames():
    ms.set_seed(0)
    model = classifier(SkateFormer, 4, "nturgb+d", time_channel=True, **SMALL).set_train(False)
    keypoints = np.random.default_rng(0).standard_normal((1, 40, 25, 3)).astype(np.float32)
    pipeline = GraphPipeline("nturgb+d", clip_len=8, time_channel=True)
    clips = pipeline.test_clips(Recording("r", 0, keypoints), Stream("joint"))
    other = clips.copy()
    other[..., 3] = -1
    assert np.abs((model(Tensor(clips)) - model(Tensor(other))).asnumpy()).max() > 1e-5


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_what_is_dropped_comes_from_the_steps_own_seed(jit):
    ms.set_seed(0)
    settings = SMALL | {"attention_dropout": 0.5, "drop_path": 0.5}
    model = classifier(SkateFormer, 4, "nturgb+d", **settings).set_train(True)
    for parameter in model.trainable_params():  # so that attentions differ from means
        ms.ops.assign(parameter, parameter * 3)
    problem = Classify(4)
    forward = ms.jit(model.construct) if jit else model
    clips = Tensor(np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32))

    def logits(seed):
        drawn = problem.chance(model, SHAPE, np.random.default_rng(seed))
        return forward(clips, *[Tensor(array) for array in drawn.values()]).asnumpy()

    first = logits(0)
    np.testing.assert_array_equal(logits(0), first)
    assert np.abs(logits(1) - first).max() > 1e-3


def test_pairs_and_paths_are_dropped_with_their_probabilities():
    settings = SMALL | {"attention_dropout": 0.25, "drop_path": 0.4}
    model = SkateFormer("nturgb+d", **settings)
    drawn = model.chance((400, 1, 8, 25, 3), np.random.default_rng(0))
    paths = drawn.pop("paths")
    assert paths.shape == (400, 4)
    assert (paths[:, :2] == 1).all()  # the first block is never left out
    assert (paths[:, 2:] == 0).mean() == pytest.approx(0.4, abs=0.06)
    assert np.unique(paths[:, 2:]) == pytest.approx([0, 1 / 0.6])
    assert len(drawn) == 2 * 4
    assert drawn["pairs_0_1"].shape == (400, 8 * 24 // (2 * 12) * 4, 24, 24)
    assert drawn["pairs_1_1"].shape == (400, 4 * 24 // (2 * 12) * 4, 24, 24)
    for kept in drawn.values():
        assert kept.dtype == bool
        assert kept.mean() == pytest.approx(0.75, abs=0.005)
