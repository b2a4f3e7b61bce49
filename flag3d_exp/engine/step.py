"""One optimizer update: loss, gradients, their mean over ranks, clipping, weights, averages.

Legend: N clips in a batch, K classes, F features before the head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from flag3d_exp.engine.optimizer import learning_rates, set_learning_rates

Function = Callable[..., Any]  # what MindSpore returns is typed as all it might be


@dataclass(frozen=True)
class StepSettings:
    """How a batch becomes an update.

    Args:
        clip_norm: largest global L2 norm of the gradient; None for no clipping.
        label_smoothing: share of each target spread evenly over all classes.
        class_weights: (K,) weight of each class in the mean loss; None for equal ones.
        accumulate: batches whose mean gradient makes one update.
        ema_decay: decay of the moving average of the weights; None for no average.
        skip_nonfinite: leave out an update whose loss or gradient is not finite.
        loss_scaling: scale the loss so that gradients in fp16 do not vanish.
        world: ranks of the job, each with batches of its own.
        jit: compile.
    """

    clip_norm: float | None = None
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    accumulate: int = 1
    ema_decay: float | None = None
    skip_nonfinite: bool = False
    loss_scaling: bool = False
    world: int = 1
    jit: bool = True


@dataclass(frozen=True)
class MicroBatch:
    """One pass: clips (N, M, T, V, C), labels (N,), dropout_mask (N, F) or None."""

    clips: np.ndarray
    labels: np.ndarray
    dropout_mask: np.ndarray | None


class CrossEntropy(nn.Cell):
    """Mean cross entropy of logits (N, K) and labels (N,), with smoothing and class weights."""

    def __init__(self, label_smoothing: float, class_weights: tuple[float, ...] | None):
        super().__init__()
        self.label_smoothing = label_smoothing
        weights = None if class_weights is None else np.asarray(class_weights, np.float32)
        self.class_weights = None if weights is None else Tensor(weights)

    def construct(self, logits, labels):
        """logits (N, K), labels (N,) -> the loss."""
        num_classes = logits.shape[1]
        log_probabilities = ops.log_softmax(logits.astype(ms.float32), 1)  # (N, K)
        on, off = 1.0 - self.label_smoothing, self.label_smoothing / num_classes
        chosen = ops.one_hot(labels, num_classes, Tensor(1.0, ms.float32), Tensor(0.0, ms.float32))
        losses = -((chosen * on + off) * log_probabilities).sum(1)  # (N,)
        if self.class_weights is None:
            return losses.mean()
        weights = (chosen * self.class_weights).sum(1)  # (N,)
        return (losses * weights).sum() / weights.sum()


class LossScale:
    """A factor on the loss as large as fp16 gradients bear (Micikevicius et al., ICLR 2018).

    Halved when a gradient overflows, doubled after 2,000 updates without. Kept as parameters, which
    checkpoints hold.
    """

    GROWTH_INTERVAL = 2000

    def __init__(self, value: float = 2.0**16):
        self.value = Parameter(Tensor(value, ms.float32), name="loss_scale.value")
        self.num_good = Parameter(Tensor(0, ms.int32), name="loss_scale.num_good")

    def update(self, finite: bool) -> None:
        """Take note of an update's gradients."""
        value, num_good = float(self.value.asnumpy()), int(self.num_good.asnumpy()) + 1
        if not finite:
            value, num_good = max(value / 2, 1.0), 0
        elif num_good == self.GROWTH_INTERVAL:
            value, num_good = value * 2, 0
        ops.assign(self.value, Tensor(value, ms.float32))
        ops.assign(self.num_good, Tensor(num_good, ms.int32))


class TrainStep:
    """Updates `model` through `optimizer`, one call an update; puts it in training mode."""

    def __init__(self, model: nn.Cell, optimizer: nn.Optimizer, settings: StepSettings):
        self.model, self.optimizer, self.settings = model, optimizer, settings
        self.base_rates = learning_rates(optimizer)
        parameters = tuple(model.get_parameters())
        own = {p.name for p in parameters}
        self.optimizer_state = [p for p in optimizer.get_parameters() if p.name not in own]
        self.statistics = [p for p in parameters if not p.requires_grad]
        self.ema = self._averages(parameters) if settings.ema_decay is not None else ()
        self.loss_scale = LossScale() if settings.loss_scaling else None
        if self.loss_scale:
            self.optimizer_state += [self.loss_scale.value, self.loss_scale.num_good]
        criterion = CrossEntropy(settings.label_smoothing, settings.class_weights)
        gradients = gradient_function(model, optimizer, criterion, self.loss_scale)
        gradients = mean_over_ranks(gradients, settings.world)
        apply = update_function(optimizer, settings.clip_norm)
        compiled: Any = ms.jit if settings.jit else _as_it_is
        self.may_skip = settings.skip_nonfinite or settings.loss_scaling
        self.single = settings.accumulate == 1 and not self.may_skip
        if self.single:
            self._update = compiled(_composed(gradients, apply))
        else:
            self._gradients, self._apply = compiled(gradients), compiled(apply)
        shared = settings.world > 1 and self.statistics
        self._share = (
            compiled(statistics_function(self.statistics, settings.world)) if shared else None
        )
        self._average = compiled(average_function(parameters, self.ema, settings.ema_decay or 0.0))

    def __call__(self, batches: list[MicroBatch], factor: float) -> tuple[Tensor, Tensor]:
        """The mean loss before the update, and the number of right answers; still on the device.

        An accelerator goes on with the update while the caller prepares the next.

        Args:
            batches: `accumulate` of them.
            factor: what the optimizer's learning rates are multiplied with.

        Returns:
            Of all ranks. A skipped update returns its loss all the same.
        """
        self.model.set_train(True)
        set_learning_rates(self.optimizer, [factor * rate for rate in self.base_rates])
        if self.single:
            loss, num_correct = self._update(*_tensors(batches[0]))
        else:
            loss, num_correct, applied = self._accumulated(batches)
            if not applied:
                return loss, num_correct
        if self._share:
            self._share()
        if self.ema:
            self._average()
        return loss, num_correct

    def _accumulated(self, batches: list[MicroBatch]) -> tuple[Tensor, Tensor, bool]:
        before = [p.asnumpy().copy() for p in self.statistics] if self.may_skip else []
        loss, num_correct, mean = self._gradients(*_tensors(batches[0]))
        for batch in batches[1:]:
            more_loss, more_correct, more = self._gradients(*_tensors(batch))
            loss, num_correct = loss + more_loss, num_correct + more_correct
            mean = [total + part for total, part in zip(mean, more, strict=True)]
        if len(batches) > 1:
            share = 1.0 / len(batches)
            loss, mean = loss * share, tuple(total * share for total in mean)
        finite = not self.may_skip or _finite(loss, mean)
        if self.loss_scale:
            self.loss_scale.update(finite)
        if not finite:
            for parameter, value in zip(self.statistics, before, strict=True):
                ops.assign(parameter, Tensor(value))
            return loss, num_correct, False
        self._apply(mean)
        return loss, num_correct, True

    def _averages(self, parameters: tuple[Parameter, ...]) -> ParameterTuple:
        return ParameterTuple(
            [Parameter(Tensor(p.asnumpy()), name=f"ema.{p.name}") for p in parameters]
        )


def gradient_function(
    model: Function, optimizer: nn.Optimizer, criterion: Function, loss_scale: LossScale | None
) -> Function:
    """(clips, labels, mask) -> loss, number of right answers, gradients."""
    scale = None if loss_scale is None else loss_scale.value

    def forward(clips, labels, dropout_mask):
        logits = model(clips, dropout_mask)
        loss = criterion(logits, labels)
        num_correct = (logits.argmax(1) == labels).astype(ms.int32).sum()
        return loss if scale is None else loss * scale, loss, num_correct

    of_inputs: Any = None
    with_gradients: Function = ms.value_and_grad(
        forward, of_inputs, optimizer.parameters, has_aux=True
    )

    def gradients(clips, labels, dropout_mask):
        (_, loss, num_correct), found = with_gradients(clips, labels, dropout_mask)
        if scale is not None:
            found = tuple([gradient / scale for gradient in found])
        return loss, num_correct, found

    return gradients


def mean_over_ranks(gradients: Function, world: int) -> Function:
    """The function with its results taken over all ranks, in one message.

    The sum is of mean losses and gradients: all ranks' batches must be of one size.
    """
    if world == 1:
        return gradients
    together = mean_function(world)

    def reduced(clips, labels, dropout_mask):
        loss, num_correct, found = gradients(clips, labels, dropout_mask)
        means = together((loss, num_correct.astype(ms.float32), *found))
        return means[0], (means[1] * world).round().astype(ms.int32), means[2:]

    return reduced


def statistics_function(statistics: list[Parameter], world: int) -> Function:
    """() -> running statistics replaced by their means over all ranks."""
    together = mean_function(world)

    def share():
        means = together(statistics)
        for i in range(len(statistics)):
            ops.assign(statistics[i], means[i])
        return True

    return share


def mean_function(world: int) -> Function:
    """(arrays) -> their means over all ranks, all sent as one message."""
    total: Any = ops.AllReduce()

    def mean(arrays):
        message = ops.concat([array.reshape(-1) for array in arrays])
        message = total(message) * (1.0 / world)
        means, start = [], 0
        for array in arrays:
            means.append(message[start : start + array.size].reshape(array.shape))
            start += array.size
        return tuple(means)

    return mean


def update_function(optimizer: Function, clip_norm: float | None) -> Function:
    """(gradients) -> the optimizer's return value, weights updated."""

    def apply(gradients):
        if clip_norm is not None:
            gradients = ops.clip_by_global_norm(gradients, clip_norm)
        return optimizer(gradients)

    return apply


def average_function(parameters: tuple, averages: tuple, decay: float) -> Function:
    """() -> every moving average brought up to date; running statistics are averaged too."""

    def average():
        for i in range(len(averages)):
            ops.assign(averages[i], averages[i] * decay + parameters[i] * (1.0 - decay))
        return True

    return average


def dropout_mask(
    shape: tuple[int, int], probability: float, rng: np.random.Generator
) -> np.ndarray | None:
    """(N, F) multipliers: 0 with `probability`, else 1 / (1 - probability); None without dropout.

    Drawn on the host because MindSpore cannot restore a compiled step's own random state.
    """
    if probability == 0:
        return None
    keep = rng.random(shape, dtype=np.float32) >= probability
    return keep.astype(np.float32) / np.float32(1 - probability)


def _composed(gradients: Function, apply: Function) -> Function:
    def update(clips, labels, mask):
        loss, num_correct, found = gradients(clips, labels, mask)
        return ops.depend(loss, apply(found)), num_correct

    return update


def _tensors(batch: MicroBatch) -> tuple[Tensor, Tensor, Tensor | None]:
    mask = None if batch.dropout_mask is None else Tensor(batch.dropout_mask)
    return Tensor(batch.clips), Tensor(batch.labels.astype(np.int32)), mask


def _finite(loss: Tensor, gradients: Sequence[Any]) -> bool:
    return bool(np.isfinite(loss.asnumpy())) and all(
        bool(ops.isfinite(g).all().asnumpy()) for g in gradients
    )


def _as_it_is(function: Function) -> Function:
    return function
