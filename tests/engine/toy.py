"""A linear classifier small enough to work out by hand, and what trains it."""

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn, ops

from flag3d_exp.engine.optimizer import parameter_groups, sgd
from flag3d_exp.engine.step import MicroBatch, StepSettings, TrainStep
from flag3d_exp.problems.cross_entropy import CrossEntropy


class Linear(nn.Cell):
    """clips (N, C) -> logits (N, K); counts its calls in training like a running statistic."""

    num_features = 3
    dropout = 0.0

    def __init__(self, num_classes: int = 2):
        super().__init__()
        rng = np.random.default_rng(0)
        weight = rng.standard_normal((num_classes, 3)).astype(np.float32)
        self.weight = Parameter(weight, name="head.weight")
        self.bias = Parameter(np.zeros(num_classes, np.float32), name="head.bias")
        self.mean = Parameter(np.zeros(3, np.float32), name="running_mean", requires_grad=False)

    def construct(self, clips, dropout_mask=None):
        if self.training:
            ops.assign(self.mean, 0.9 * self.mean + 0.1 * clips.mean(0))
        features = clips if dropout_mask is None else clips * dropout_mask
        return ops.matmul(features, self.weight.T) + self.bias


def batch(seed: int, num_clips: int = 4) -> MicroBatch:
    rng = np.random.default_rng(seed)
    clips = rng.standard_normal((num_clips, 3)).astype(np.float32)
    return micro_batch(clips, rng.integers(0, 2, num_clips))


def micro_batch(clips: np.ndarray, labels: np.ndarray) -> MicroBatch:
    """A batch of `problem=classify`."""
    return MicroBatch(
        {"keypoints": clips.astype(np.float32)}, {"label": np.asarray(labels, np.int32)}
    )


def train_step(
    settings: StepSettings | None = None,
    lr: float = 0.1,
    criterion: CrossEntropy | None = None,
    **optimizer,
) -> TrainStep:
    ms.set_seed(0)
    model = Linear()
    groups = parameter_groups(model.get_parameters(), None, False)
    made = sgd(groups, lr=lr, **optimizer)
    return TrainStep(model, criterion or CrossEntropy(), made, settings or StepSettings(jit=False))


def loss_and_gradient(
    weight: np.ndarray, bias: np.ndarray, one: MicroBatch, targets: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean cross entropy with target rows (N, K), and its gradients, in NumPy."""
    logits = one.inputs["keypoints"] @ weight.T + bias
    log_p = logits - logits.max(1, keepdims=True)
    log_p = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
    slope = (np.exp(log_p) - targets) / len(targets)
    return float(-(targets * log_p).sum(1).mean()), slope.T @ one.inputs["keypoints"], slope.sum(0)
