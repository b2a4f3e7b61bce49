import logging
from itertools import count

import numpy as np
import pytest
from engine.toy import Linear, batch, micro_batch, train_step
from mindspore import Parameter, nn, ops

from flag3d_exp.debug.nonfinite import FirstNonFinite, cause
from flag3d_exp.debug.updates import Update
from flag3d_exp.engine.optimizer import parameter_groups, sgd
from flag3d_exp.engine.step import StepSettings, TrainStep
from flag3d_exp.errors import UserError
from flag3d_exp.problems.cross_entropy import CrossEntropy

NAMES = ["a", "b", "c", "d"]


class Log(nn.Cell):
    """The logarithm: not finite where something is not above 0."""

    def construct(self, x):
        return ops.log(x)


class Root(nn.Cell):
    """The square root: finite at 0, its slope not."""

    def construct(self, x):
        return ops.sqrt(x)


class Chain(nn.Cell):
    """clips (N, 3) times a weight, through a `curve` -> logits (N, 3)."""

    num_features = 3
    dropout = 0.0

    def __init__(self, curve: nn.Cell):
        super().__init__()
        self.weight = Parameter(np.ones(3, np.float32), name="head.weight")
        self.curve = curve

    def construct(self, clips, dropout_mask=None):
        return self.curve(clips * self.weight)


def step_of(model: nn.Cell) -> TrainStep:
    groups = parameter_groups(model.get_parameters(), None, False)
    return TrainStep(model, CrossEntropy(), sgd(groups, lr=0.1), StepSettings(jit=False))


def update(clips: np.ndarray) -> Update:
    return Update(1, [micro_batch(clips, np.zeros(len(clips)))], 1.0, NAMES)


def positive() -> np.ndarray:
    return np.arange(1.0, 13.0).reshape(4, 3)


def test_nothing_is_said_of_numbers_that_are_finite():
    for curve in (Log(), Root()):
        assert cause(step_of(Chain(curve)), update(positive())) is None


def test_the_layer_and_the_recordings_of_an_output_are_named():
    clips = positive()
    clips[1, 0] = clips[3, 2] = 0
    told = cause(step_of(Chain(Log())), update(clips))
    assert told is not None
    assert "the output of `curve` (Log), 2 of 12 numbers, in b, d;" in told
    assert "the largest absolute input is 11." in told


def test_the_layer_and_the_recording_of_a_gradient_are_named():
    clips = positive()
    clips[2, 1] = 0
    told = cause(step_of(Chain(Root())), update(clips))
    assert told is not None
    assert "the gradient at the input of `curve` (Root), 1 of 12 numbers, in c;" in told


def test_keypoints_and_weights_come_before_layers():
    clips = positive()
    clips[0, 0] = np.nan
    told = cause(step_of(Chain(Root())), update(clips))
    assert told == "The keypoints are not finite in a."
    step = step_of(Chain(Root()))
    step.model.weight[0] = np.inf
    told = cause(step, update(positive()))
    assert told == "The weights before it are not finite, first `head.weight`."


def test_an_update_that_spoils_the_weights_is_taken_back_and_explained(caplog):
    step = train_step(lr=1e30)
    several = (Update(n, [batch(n)], 1.0, NAMES) for n in count(1))
    with caplog.at_level(logging.INFO):
        FirstNonFinite()(step, several)
    first, second = caplog.messages
    assert first.startswith("update ") and "head.weight" in first
    assert "the optimizer's step overflows" in second and "`optimizer.lr`" in second
    assert all(np.isfinite(p.asnumpy()).all() for p in step.model.get_parameters())


def test_that_nothing_was_found_is_said(caplog):
    with caplog.at_level(logging.INFO):
        FirstNonFinite()(train_step(), iter([Update(7, [batch(0)], 1.0, NAMES)]))
    assert caplog.messages == ["Loss and weights are finite in all updates; the last update was 7."]


def test_a_batch_that_a_run_has_left_is_looked_at_alone(tmp_path, caplog):
    path = tmp_path / "nonfinite_step_3.npz"
    clips = positive().astype(np.float32)
    clips[3] = np.inf
    np.savez(path, names=np.array(NAMES), clips=clips[:, None], labels=np.zeros(4, np.int64))
    with caplog.at_level(logging.INFO):
        FirstNonFinite(batch=str(path))(step_of(Linear()), iter(()))
    (told,) = caplog.messages
    assert "nonfinite_step_3.npz: The keypoints are not finite in d." in told


def test_another_file_than_a_run_s_batch_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for name in ("other.npz", "absent.npz"):
        with pytest.raises(UserError, match="`task.debug.batch="):
            FirstNonFinite(batch=str(tmp_path / name))(step_of(Linear()), iter(()))
