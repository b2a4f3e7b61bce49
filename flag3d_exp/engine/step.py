"""One optimizer update: loss, gradients, their mean over ranks, clipping, weights, averages.

The step passes named arrays on and does not depend on their names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from flag3d_exp.engine.optimizer import SGD, learning_rates, set_learning_rates
from flag3d_exp.engine.parameters import assign_parameters

Function = Callable[..., Any]  # MindSpore's return types are unions of all possible types


@dataclass(frozen=True)
class StepSettings:
    """Settings of an update.

    Args:
        clip_norm: largest global L2 norm of the gradient; None for no clipping.
        accumulate: number of batches whose mean gradient makes one update.
        ema_decay: decay of the moving average of the weights; None for no average.
        skip_nonfinite: leave out an update whose loss or gradient is not finite.
        loss_scaling: scale the loss so that gradients in fp16 do not vanish.
        world: number of ranks of the job, each with its own batches.
        reusable: whether steps with other settings of the optimizer may take over this one; the
            weight decay is a constant of other steps, which compile in less time.
        jit: compile the step.
    """

    clip_norm: float | None = None
    accumulate: int = 1
    ema_decay: float | None = None
    skip_nonfinite: bool = False
    loss_scaling: bool = False
    world: int = 1
    reusable: bool = False
    jit: bool = True


@dataclass(frozen=True)
class MicroBatch:
    """One pass: named arrays, each with the clips on its first axis.

    Args:
        inputs: inputs of the network, in the order of its arguments.
        targets: inputs of the loss after the network's outputs, in the order of its arguments.
    """

    inputs: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def tensors(self) -> list[Tensor]:
        """Inputs, then targets."""
        return [Tensor(array) for array in (*self.inputs.values(), *self.targets.values())]


class Criterion(Protocol):
    """A cell that computes the loss and the counts for the training metrics.

    Attributes:
        counts: the names of the counts.
    """

    counts: tuple[str, ...]

    def __call__(self, outputs: Any, *targets: Any) -> tuple[Any, tuple[Any, ...]]:
        """The mean loss, and the sum of each count over the batch."""
        ...

    def metrics(self, counts: Mapping[str, float], num_clips: int) -> dict[str, float]:
        """The training metrics from the sums over `num_clips` clips."""
        ...


class LossScale:
    """A factor of the loss, as large as fp16 gradients allow (Micikevicius et al., ICLR 2018).

    It is halved when a gradient overflows, and doubled after 2,000 updates without overflow. It is
    stored as parameters, so checkpoints include it.
    """

    GROWTH_INTERVAL = 2000

    def __init__(self, value: float = 2.0**16):
        self.value = Parameter(Tensor(value, ms.float32), name="loss_scale.value")
        self.num_good = Parameter(Tensor(0, ms.int32), name="loss_scale.num_good")

    def update(self, finite: bool) -> None:
        """Adjust the factor after an update with finite or non-finite gradients."""
        value, num_good = float(self.value.asnumpy()), int(self.num_good.asnumpy()) + 1
        if not finite:
            value, num_good = max(value / 2, 1.0), 0
        elif num_good == self.GROWTH_INTERVAL:
            value, num_good = value * 2, 0
        ops.assign(self.value, Tensor(value, ms.float32))
        ops.assign(self.num_good, Tensor(num_good, ms.int32))


class TrainStep:
    """Update `model` by `optimizer`, one update per call; set the model to training mode.

    All batches must have arrays with the same names.
    """

    def __init__(
        self,
        model: nn.Cell,
        criterion: Criterion,
        optimizer: nn.Optimizer,
        settings: StepSettings,
    ):
        self.model, self.criterion = model, criterion
        self.optimizer, self.settings = optimizer, settings
        if isinstance(optimizer, SGD) and not settings.reusable:
            optimizer.make_decay_constant()
        self.base_rates = learning_rates(optimizer)
        parameters = tuple(model.get_parameters())
        apart = {p.name for p in parameters} | set(getattr(optimizer, "settings", ()))
        self.optimizer_state = [p for p in optimizer.get_parameters() if p.name not in apart]
        self.statistics = [p for p in parameters if not p.requires_grad]
        self.ema = self._averages(parameters) if settings.ema_decay is not None else ()
        self.loss_scale = LossScale() if settings.loss_scaling else None
        if self.loss_scale:
            self.optimizer_state += [self.loss_scale.value, self.loss_scale.num_good]
        self._compiled: Any = ms.jit if settings.jit else _as_it_is
        compiled = self._compiled
        self.may_skip = settings.skip_nonfinite or settings.loss_scaling
        self.single = settings.accumulate == 1 and not self.may_skip
        self._num_inputs: int | None = None  # of the functions made for the first batch
        shared = settings.world > 1 and self.statistics
        self._share = (
            compiled(statistics_function(self.statistics, settings.world)) if shared else None
        )
        self._average = compiled(average_function(parameters, self.ema, settings.ema_decay or 0.0))

    def __call__(
        self, batches: list[MicroBatch], factor: float
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Make one update; return the mean loss before it and the counts, still on the device.

        An accelerator continues the update while the caller prepares the next one.

        Args:
            batches: `accumulate` batches.
            factor: factor of the optimizer's learning rates.

        Returns:
            Loss and counts over all ranks. A skipped update also returns its loss.
        """
        self.model.set_train(True)
        set_learning_rates(self.optimizer, [factor * rate for rate in self.base_rates])
        if self._num_inputs is None:
            self._make(len(batches[0].inputs))
        if self.single:
            loss, counts = self._update(*batches[0].tensors())
        else:
            loss, counts, applied = self._accumulate(batches)
            if not applied:
                return loss, counts
        if self._share:
            self._share()
        if self.ema:
            self._average()
        return loss, counts

    def take_over(self, other: "TrainStep") -> None:
        """Take the weights, the state and the settings of a step with the same graph.

        The compiled functions stay. Then this step makes the same updates as the other one.
        """
        self.base_rates = other.base_rates
        values = {p.name: p.asnumpy() for p in other._all_parameters()}
        assign_parameters(self._all_parameters(), values)

    def _all_parameters(self) -> list[Parameter]:
        own = [*self.model.get_parameters(), *self.optimizer.get_parameters()]
        return list(dict.fromkeys([*own, *self.optimizer_state, *self.ema]))

    def _make(self, num_inputs: int) -> None:
        self._num_inputs = num_inputs
        gradients = gradient_function(
            self.model, self.optimizer, self.criterion, self.loss_scale, num_inputs
        )
        gradients = mean_over_ranks(gradients, self.settings.world)
        apply = update_function(self.optimizer, self.settings.clip_norm)
        self._update = self._compiled(_composition(gradients, apply))
        self._gradients, self._apply = self._compiled(gradients), self._compiled(apply)

    def _accumulate(self, batches: list[MicroBatch]) -> tuple[Tensor, tuple[Tensor, ...], bool]:
        before = [p.asnumpy().copy() for p in self.statistics] if self.may_skip else []
        loss, counts, mean = self._gradients(*batches[0].tensors())
        for batch in batches[1:]:
            more_loss, more_counts, more = self._gradients(*batch.tensors())
            loss = loss + more_loss
            counts = tuple(one + other for one, other in zip(counts, more_counts, strict=True))
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
            return loss, counts, False
        self._apply(mean)
        return loss, counts, True

    def _averages(self, parameters: tuple[Parameter, ...]) -> ParameterTuple:
        return ParameterTuple(
            [Parameter(Tensor(p.asnumpy()), name=f"ema.{p.name}") for p in parameters]
        )


def loss_function(model: Function, criterion: Function, num_inputs: int) -> Function:
    """(inputs, then targets) -> loss, counts.

    A network with an `auxiliary` loss returns its outputs and the evidence for that loss. Then
    `auxiliary(evidence, outputs, *targets)` is added to the criterion's loss.
    """
    auxiliary: Any = getattr(model, "auxiliary", None)

    def loss_of(*arrays):
        inputs, targets = arrays[:num_inputs], arrays[num_inputs:]
        if auxiliary is None:
            return criterion(model(*inputs), *targets)
        outputs, evidence = model(*inputs)
        loss, counts = criterion(outputs, *targets)
        return loss + auxiliary(evidence, outputs, *targets), counts

    return loss_of


def gradient_function(
    model: Function,
    optimizer: nn.Optimizer,
    criterion: Function,
    loss_scale: LossScale | None,
    num_inputs: int,
) -> Function:
    """(inputs, then targets) -> loss, counts, gradients."""
    scale = None if loss_scale is None else loss_scale.value
    whole_loss = loss_function(model, criterion, num_inputs)

    def forward(*arrays):
        loss, counts = whole_loss(*arrays)
        return loss if scale is None else loss * scale, loss, counts

    of_inputs: Any = None
    with_gradients: Function = ms.value_and_grad(
        forward, of_inputs, optimizer.parameters, has_aux=True
    )

    def gradients(*arrays):
        (_, loss, counts), found = with_gradients(*arrays)
        if scale is not None:
            found = tuple([gradient / scale for gradient in found])
        return loss, counts, found

    return gradients


def mean_over_ranks(gradients: Function, world: int) -> Function:
    """The function with its results reduced over all ranks, in one message.

    It adds mean losses and gradients, so the batches of all ranks must have the same size.
    """
    if world == 1:
        return gradients
    together = mean_function(world)

    def reduced(*arrays):
        loss, counts, found = gradients(*arrays)
        num_counts = len(counts)
        means = together((loss, *[count.astype(ms.float32) for count in counts], *found))
        sums = tuple([mean * world for mean in means[1 : 1 + num_counts]])
        return means[0], sums, means[1 + num_counts :]

    return reduced


def statistics_function(statistics: list[Parameter], world: int) -> Function:
    """() -> replace running statistics by their means over all ranks."""
    together = mean_function(world)

    def share():
        means = together(statistics)
        for i in range(len(statistics)):
            ops.assign(statistics[i], means[i])
        return True

    return share


def mean_function(world: int) -> Function:
    """(arrays) -> their means over all ranks, sent in one message."""
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
    """(gradients) -> update the weights; return the optimizer's return value."""

    def apply(gradients):
        if clip_norm is not None:
            gradients = ops.clip_by_global_norm(gradients, clip_norm)
        return optimizer(gradients)

    return apply


def average_function(parameters: tuple, averages: tuple, decay: float) -> Function:
    """() -> update every moving average, also of running statistics."""

    def average():
        for i in range(len(averages)):
            ops.assign(averages[i], averages[i] * decay + parameters[i] * (1.0 - decay))
        return True

    return average


def _composition(gradients: Function, apply: Function) -> Function:
    def update(*arrays):
        loss, counts, found = gradients(*arrays)
        return ops.depend(loss, apply(found)), counts

    return update


def _finite(loss: Tensor, gradients: Sequence[Any]) -> bool:
    return bool(np.isfinite(loss.asnumpy())) and all(
        bool(ops.isfinite(g).all().asnumpy()) for g in gradients
    )


def _as_it_is(function: Function) -> Function:
    return function
