"""Learning-rate schedules: the factor of the optimizer's rate at a fractional epoch."""

from dataclasses import dataclass
from math import cos, pi
from typing import Annotated, Protocol

from flag3d_exp import bounds
from flag3d_exp.errors import UserError


class Schedule(Protocol):
    """Map the number of finished epochs (fractional within an epoch) and the total to a factor."""

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """The factor of the learning rate."""
        ...


@dataclass(frozen=True)
class Constant:
    """1 throughout, after a linear warm-up of `warmup_epochs`."""

    warmup_epochs: Annotated[float, ">= 0"] = 0.0

    def __post_init__(self) -> None:
        bounds.check(self, "scheduler")

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """The factor."""
        return _warmup(epoch, self.warmup_epochs)


@dataclass(frozen=True)
class Cosine:
    """From 1 to `floor` along half a cosine (Loshchilov and Hutter, 2017), after a warm-up."""

    warmup_epochs: Annotated[float, ">= 0"] = 0.0
    floor: Annotated[float, ">= 0, <= 1"] = 0.0

    def __post_init__(self) -> None:
        bounds.check(self, "scheduler")

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """The factor."""
        if epoch < self.warmup_epochs:
            return _warmup(epoch, self.warmup_epochs)
        span = max(num_epochs - self.warmup_epochs, 1e-9)
        progress = min((epoch - self.warmup_epochs) / span, 1.0)
        return self.floor + (1 - self.floor) * (1 + cos(pi * progress)) / 2


@dataclass(frozen=True)
class Step:
    """Multiply by `decay` at each of the `milestones` (in epochs), after a linear warm-up."""

    milestones: tuple[Annotated[int, ">= 0"], ...] = (10, 20)
    decay: Annotated[float, "> 0"] = 0.1
    warmup_epochs: Annotated[float, ">= 0"] = 0.0

    def __post_init__(self) -> None:
        bounds.check(self, "scheduler")
        if list(self.milestones) != sorted(self.milestones):
            raise UserError(f"`scheduler.milestones` must ascend; got {list(self.milestones)}.")

    def __call__(self, epoch: float, num_epochs: int) -> float:
        """The factor."""
        passed = sum(epoch >= milestone for milestone in self.milestones)
        return self.decay**passed * _warmup(epoch, self.warmup_epochs)


def _warmup(epoch: float, warmup_epochs: float) -> float:
    return min(epoch / warmup_epochs, 1.0) if warmup_epochs > 0 else 1.0
