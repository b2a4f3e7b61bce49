"""Optimizers over all parameters of a model; by default every parameter is decayed."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

from flag3d_exp.errors import UserError

EMBEDDINGS = ("embedding", "position", "table")  # last parts of the names of embeddings


def parameter_groups(
    parameters: Iterable[Parameter], head_lr: float | None, freeze_backbone: bool
) -> list[dict[str, Any]]:
    """The parameters to train in groups that share a learning rate.

    Parameters named `head.` are the classifier. Groups, even a single one, also make MindSpore
    decay every parameter: ungrouped, it silently exempts names with `gamma` or `beta`.

    Args:
        head_lr: the head's learning rate; None for the optimizer's.
        freeze_backbone: leave out all parameters except the head's.
    """
    trained = [p for p in parameters if p.requires_grad]
    head = [p for p in trained if p.name.startswith("head.")]
    backbone = [] if freeze_backbone else [p for p in trained if not p.name.startswith("head.")]
    if head_lr is None:
        return [{"params": backbone + head}]
    groups = [{"params": backbone}] if backbone else []
    return [*groups, {"params": head, "lr": head_lr}]


def split_by_decay(
    groups: list[dict[str, Any]], weight_decay: float, decay_vectors: bool
) -> list[dict[str, Any]]:
    """The groups, each split into parameters with and without weight decay.

    Without `decay_vectors`, there is no decay for norms, biases, other vectors and embeddings, as
    is usual for transformers.
    """
    if decay_vectors:
        return groups
    split = []
    for group in groups:
        for decayed in (True, False):
            members = [p for p in group["params"] if is_matrix(p) == decayed]
            if members:
                decay = weight_decay if decayed else 0.0
                split.append(group | {"params": members, "weight_decay": decay})
    return split


def is_matrix(parameter: Parameter) -> bool:
    """Whether a parameter has several axes and is not an embedding."""
    return parameter.ndim > 1 and parameter.name.rpartition(".")[2] not in EMBEDDINGS


def sgd(
    params: list[dict[str, Any]],
    lr: Annotated[float, ">= 0"] = 0.1,
    momentum: Annotated[float, ">= 0, < 1"] = 0.9,
    nesterov: bool = True,
    weight_decay: Annotated[float, ">= 0"] = 5e-4,
    decay_vectors: bool = True,
) -> nn.Optimizer:
    """SGD with momentum; the decay is added to the gradient, as in PyTorch.

    Args:
        params: see `parameter_groups`.
        decay_vectors: decay norms, biases and embeddings, too; see `split_by_decay`.

    Raises:
        UserError: a negative rate, momentum or decay, or Nesterov without momentum.
    """
    _check(lr=lr, momentum=momentum, weight_decay=weight_decay)
    if momentum >= 1:
        raise UserError(f"`optimizer.momentum` must be below 1; got {momentum}.")
    if nesterov and momentum == 0:
        raise UserError("`optimizer.nesterov=true` needs `optimizer.momentum` above 0; got 0.")
    groups = split_by_decay(params, weight_decay, decay_vectors)
    return SGD(groups, lr, momentum, nesterov, weight_decay)


class SGD(nn.Optimizer):
    """SGD as `nn.SGD` computes it, with the weight decay as a parameter or as a constant.

    With a parameter, a compiled update serves any weight decay. With a constant, as in `nn.SGD`, it
    has two operators less for each decayed parameter and compiles in less time.

    Attributes:
        constants: what a compiled update has as constants; see `engine.reuse`.
        settings: names of parameters that are settings, not state; checkpoints do not include them.
    """

    settings = ("weight_decay",)

    def __init__(self, params, lr, momentum, nesterov, weight_decay):
        super().__init__(lr, params, weight_decay)
        self.momentum = Parameter(Tensor(momentum, mstype.float32), name="momentum")
        self.decay = Parameter(Tensor(weight_decay, mstype.float32), name="weight_decay")
        self.accum = self._parameters.clone(prefix="accum", init="zeros")
        self.stat = self._parameters.clone(prefix="stat", init="ones")
        self.sgd = self.decaying_sgd = ops.SGD(0.0, 0.0, nesterov)
        self.decayed = tuple(i for i, decays in enumerate(self.decay_flags) if decays)
        self.decayed_by_kernel: tuple[int, ...] = ()
        self.undecayed = tuple(i for i, decays in enumerate(self.decay_flags) if not decays)
        self.constants = (nesterov, self.decay_flags)

    def make_decay_constant(self) -> None:
        """Before the first step: compile the weight decay as a constant."""
        if not self.decayed:  # nothing decays, or it is a constant already
            return
        decay = float(self.decay.asnumpy())
        self.decaying_sgd = ops.SGD(0.0, decay, self.sgd.nesterov)
        self.decayed, self.decayed_by_kernel = (), self.decayed
        self.constants += (decay,)

    def construct(self, gradients):
        """Update the parameters."""
        rates: Any = self.get_lr()
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        if not self.is_group_lr:
            rates = (rates,) * len(self._parameters)
        # Three loops, because a condition or a call in a loop takes the compiler long.
        for i in self.decayed:
            weight = self._parameters[i]
            gradient = weight * self.decay + gradients[i]
            self.sgd(weight, gradient, rates[i], self.accum[i], self.momentum, self.stat[i])
        for i in self.decayed_by_kernel:
            weight = self._parameters[i]
            self.decaying_sgd(
                weight, gradients[i], rates[i], self.accum[i], self.momentum, self.stat[i]
            )
        for i in self.undecayed:
            weight = self._parameters[i]
            self.sgd(weight, gradients[i], rates[i], self.accum[i], self.momentum, self.stat[i])
        return True


def adamw(
    params: list[dict[str, Any]],
    lr: Annotated[float, ">= 0"] = 1e-3,
    beta1: Annotated[float, ">= 0, < 1"] = 0.9,
    beta2: Annotated[float, ">= 0, < 1"] = 0.999,
    eps: Annotated[float, ">= 0"] = 1e-8,
    weight_decay: Annotated[float, ">= 0"] = 0.01,
    decay_vectors: bool = True,
) -> nn.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019).

    Args:
        params: see `parameter_groups`.
        decay_vectors: decay norms, biases and embeddings, too; see `split_by_decay`.

    Raises:
        UserError: a negative rate or decay, or a beta outside [0, 1).
    """
    _check(lr=lr, weight_decay=weight_decay, eps=eps)
    for name, value in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= value < 1:
            raise UserError(f"`optimizer.{name}` must be at least 0 and below 1; got {value}.")
    groups = split_by_decay(params, weight_decay, decay_vectors)
    return AdamW(groups, lr, beta1, beta2, eps, weight_decay, decay_vectors)


class AdamW(nn.Optimizer):
    """Adam with bias correction and decoupled weight decay.

    `nn.AdamWeightDecay` has no bias correction, `nn.Adam` couples the decay.

    Attributes:
        constants, settings: as those of `SGD`.
    """

    settings = ("weight_decay",)

    def __init__(self, params, lr, beta1, beta2, eps, weight_decay, decay_vectors=True):
        super().__init__(lr, params)
        self.first_moment = self._parameters.clone(prefix="first_moment", init="zeros")
        self.second_moment = self._parameters.clone(prefix="second_moment", init="zeros")
        self.beta1_power = Parameter(Tensor(1.0, mstype.float32), name="beta1_power")
        self.beta2_power = Parameter(Tensor(1.0, mstype.float32), name="beta2_power")
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.decay = Parameter(Tensor(weight_decay, mstype.float32), name="weight_decay")
        self.decayed = tuple(
            i
            for i, weight in enumerate(self._parameters)
            if weight_decay > 0 and (decay_vectors or is_matrix(weight))
        )
        self.adam = ops.Adam()
        self.constants = (beta1, beta2, eps, self.decayed)

    def construct(self, gradients):
        """Update the parameters."""
        rates: Any = self.get_lr()
        beta1_power = self.beta1_power * self.beta1
        beta2_power = self.beta2_power * self.beta2
        ops.assign(self.beta1_power, beta1_power)
        ops.assign(self.beta2_power, beta2_power)
        if not self.is_group_lr:
            rates = (rates,) * len(self._parameters)
        for i in self.decayed:
            weight = self._parameters[i]
            ops.assign(weight, weight * (1.0 - rates[i] * self.decay))
        for i in range(len(self._parameters)):
            self.adam(
                self._parameters[i],
                self.first_moment[i],
                self.second_moment[i],
                beta1_power,
                beta2_power,
                rates[i],
                self.beta1,
                self.beta2,
                self.eps,
                gradients[i],
            )
        return True


def learning_rates(optimizer: nn.Optimizer) -> list[float]:
    """The current rate of each of the optimizer's rate parameters."""
    return [float(parameter.asnumpy()) for parameter in _rate_parameters(optimizer)]


def set_learning_rates(optimizer: nn.Optimizer, rates: Sequence[float]) -> None:
    """Change the rates without recompiling, by `ops.assign`: only this reaches a compiled step."""
    for parameter, rate in zip(_rate_parameters(optimizer), rates, strict=True):
        ops.assign(parameter, Tensor(np.float32(rate)))


def _rate_parameters(optimizer: nn.Optimizer) -> Sequence[Parameter]:
    grouped = optimizer.is_group_lr
    return list(dict.fromkeys(optimizer.learning_rate)) if grouped else [optimizer.learning_rate]


def _check(**settings: float) -> None:
    for name, value in settings.items():
        if not (np.isfinite(value) and value >= 0):
            raise UserError(f"`optimizer.{name}` must be at least 0; got {value}.")
