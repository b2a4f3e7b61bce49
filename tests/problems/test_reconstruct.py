"""Hidden joints predicted from the rest: what is hidden, what counts, what is learned."""

import mindspore as ms
import numpy as np
import pytest
from cli import TINY, refused, succeeded
from mindspore import Tensor

import flag3d_exp as f3d
from flag3d_exp.errors import UserError
from flag3d_exp.models.c3d_light import C3DLight
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.problems.hidden_error import HiddenError
from flag3d_exp.problems.reconstruct import Reconstruct

PROBLEM = Reconstruct("nturgb+d", num_channels=3, clip_len=12, joints=0.4, frames=0.2, span=4)


def clips(num_clips: int, num_persons: int = 1) -> np.ndarray:
    """(N, M, 12, 25, 3); joint 3 is missing."""
    made = np.random.default_rng(1).normal(size=(num_clips, num_persons, 12, 25, 3))
    made[..., 3, :] = 0
    return made.astype(np.float32)


def test_joints_are_hidden_for_spans_in_the_share_asked_for():
    hidden = PROBLEM.hidden((400, 2, 12, 25, 3), np.random.default_rng(0))
    assert hidden.shape == (400, 2, 12, 25)
    spans = hidden.reshape(400, 2, 3, 4, 25)
    assert (spans == spans[:, :, :, :1]).all()
    whole = spans[:, :, :, 0].all(-1)
    assert (whole[:, 0] == whole[:, 1]).all()  # all persons at once
    assert abs(whole.mean() - 0.2) < 0.03
    assert abs(hidden.mean() - (1 - 0.6 * 0.8)) < 0.02


def test_what_is_hidden_is_not_shown_and_what_is_missing_does_not_count():
    drawn = PROBLEM.chance(None, (5, 1, 12, 25, 3), np.random.default_rng(0))
    inputs, targets = PROBLEM.batch(clips(5), {}, drawn)
    hidden = drawn["hidden"]
    assert not inputs["keypoints"][hidden].any()
    np.testing.assert_array_equal(inputs["keypoints"][~hidden], clips(5)[~hidden])
    assert not targets["counted"][..., 3].any()
    np.testing.assert_array_equal(np.delete(targets["counted"], 3, -1), np.delete(hidden, 3, -1))


def test_loss_and_metrics_are_the_same_numbers():
    outputs = clips(6)[:, None] + 0.5
    predictions = PROBLEM.predictions(outputs, clips(6)[:, None])
    found = PROBLEM.metrics(predictions, {})
    assert found["loss"] == pytest.approx(0.25, rel=1e-5)
    assert found["error_loss"] == pytest.approx(0.5 * 3**0.5, rel=1e-5)
    errors = PROBLEM.arrays_to_save(predictions, {})["joint_errors"]
    assert errors.shape == (6, 25) and np.isnan(errors[:, 3]).all()
    hidden = np.broadcast_to(PROBLEM._hidden_in_test(clips(6).shape), (6, 1, 12, 25))
    _, targets = PROBLEM.batch(clips(6), {}, {"hidden": hidden})
    loss, counts = HiddenError()(Tensor(outputs[:, 0]), *map(Tensor, targets.values()))
    assert float(loss.asnumpy()) == pytest.approx(0.25, rel=1e-5)
    named = {"distances": float(counts[0].asnumpy()), "num_counted": float(counts[1].asnumpy())}
    assert HiddenError().metrics(named, 6)["error_loss"] == pytest.approx(found["error_loss"])


def test_a_recording_is_judged_alike_in_any_batch():
    alone, among = PROBLEM.test_inputs(clips(6)[:1], {}), PROBLEM.test_inputs(clips(6), {})
    np.testing.assert_array_equal(alone["keypoints"][0], among["keypoints"][0])


@pytest.mark.parametrize("num_blocks", [1, 6])  # with as many frames as the clip, and a half
def test_coordinates_of_every_frame_are_predicted(num_blocks):
    network = PROBLEM.network(STGCN("nturgb+d", base_channels=4, num_blocks=num_blocks))
    assert network(Tensor(clips(2))).shape == (2, 1, 12, 25, 3)
    names = {p.name for p in network.trainable_params() if p.name.startswith("head.")}
    assert names == {"head.weight", "head.bias"}


def test_a_network_without_joints_is_refused():
    problem = Reconstruct("coco", num_channels=3, clip_len=8)
    with pytest.raises(UserError, match="C3DLight"):
        problem.network(C3DLight("coco", base_channels=4, train_size=16, test_size=16))


def test_nothing_to_hide_is_refused():
    with pytest.raises(UserError, match="nothing is hidden"):
        Reconstruct("coco", num_channels=3, joints=0, frames=0)


def test_training_learns_what_a_joint_does_from_the_others():
    ms.set_seed(0)
    rng = np.random.default_rng(0)
    path = rng.normal(size=(24, 1, 12, 1, 3)).cumsum(2) / 3
    moving = (path + np.linspace(-1, 1, 75).reshape(25, 3)).astype(np.float32)  # a stiff body
    train = f3d.clips(moving[:16], layout="nturgb+d", training=True, clip_len=12)
    val = f3d.clips(moving[16:], layout="nturgb+d", clip_len=12)
    backbone = STGCN("nturgb+d", base_channels=16, num_blocks=2)
    trained = f3d.train(
        backbone, train, {"val": val}, epochs=4, repeat=25, batch_size=8, lr=0.1, problem=PROBLEM
    )
    mean = moving[:16].mean((0, 1, 2))
    still = PROBLEM.predictions(np.broadcast_to(mean, (8, 1, 1, 12, 25, 3)), moving[16:, None])
    assert trained.metrics["val/loss"] < 0.5 * PROBLEM.metrics(still, {})["loss"]


@pytest.mark.slow
def test_a_backbone_is_pretrained_fine_tuned_and_its_run_is_no_classifier(tmp_path):
    quick = (*TINY, "task.epochs=1", "tracking=none")
    first = succeeded(tmp_path, *quick, "problem=reconstruct", "hydra.run.dir=first")
    assert "val/loss" in first and "top1" not in first
    checkpoint = "task.checkpoint=first"
    again = succeeded(tmp_path, "task=evaluate", checkpoint, "tracking=none", "device=cpu")
    assert "val: loss" in again
    line = refused(tmp_path, "task=predict", checkpoint, "task.input=x.csv", "tracking=none")
    assert "x.csv" in line or "problem=reconstruct" in line
    tuned = succeeded(
        tmp_path, *quick, "task.init_from=first", "dataset.train_share=0.1", "hydra.run.dir=second"
    )
    assert "the head of first is left out" in tuned
    assert "train 67" in tuned or "(train " in tuned
