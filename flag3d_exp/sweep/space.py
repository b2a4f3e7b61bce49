"""The search space for Optuna, in Hydra's sweep syntax, from configuration and command line.

optimizer.lr=tag(log,interval(0.001,1))   a number in an interval, on a log scale
model.base_channels=int(interval(8,64))   a whole number in an interval
model.num_blocks=range(2,11,2)            2, 4, ... 10
optimizer=choice(sgd,adamw)               one of these; optimizer=sgd,adamw is the same
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import optuna
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.utils import get_method
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from flag3d_exp.config.hydra_adapter import parse_overrides, value_text
from flag3d_exp.config.untrusted import check_objects, checked_overrides
from flag3d_exp.errors import UserError


@dataclass(frozen=True)
class Space:
    """The fixed and the varied settings of the trials.

    Args:
        fixed: override lines of every trial.
        distributions: key -> distribution from which each trial draws.
        conditional: function that draws more by `trial.suggest_...`, depending on earlier draws.
    """

    fixed: list[str]
    distributions: dict[str, BaseDistribution]
    conditional: Callable[[optuna.Trial], None] | None = None

    def draw(self, trial: optuna.Trial) -> list[str]:
        """The override lines of a trial."""
        for key, distribution in self.distributions.items():
            suggest(trial, key, distribution)
        if self.conditional is not None:
            self.conditional(trial)
        lines = {key: f"{key}={spelled_value(value)}" for key, value in trial.params.items()}
        added = {key: value for key, value in trial.params.items() if key not in self.distributions}
        if (
            self.conditional is None
        ):  # then the added ones come from the storage and are not trusted
            checked_overrides([lines[key] for key in added], "the study's storage")
        for key, value in added.items():
            check_objects(key, value, "the study's storage")
        return list(lines.values())

    @property
    def size(self) -> int | None:
        """The number of points; None if it is unknown or infinite."""
        if self.conditional is not None:
            return None
        counts = [num_values(distribution) for distribution in self.distributions.values()]
        return None if None in counts else prod(c for c in counts if c is not None)

    def grid(self) -> dict[str, list[Any]]:
        """Every value of every key.

        Raises:
            UserError: a key has no finite number of values.
        """
        for key, distribution in self.distributions.items():
            if num_values(distribution) is None:
                raise UserError(
                    f"`{key}` must be a choice or a range for hydra/sweeper/sampler=grid."
                )
        return {key: values(distribution) for key, distribution in self.distributions.items()}

    def point_besides(
        self, points: Sequence[Mapping[str, Any]], rng: np.random.Generator
    ) -> dict[str, Any] | None:
        """A point of a finite space that is not in `points`; None if there is none."""
        if self.size is None:
            return None
        taken = set(map(identity, points))
        grid = self.grid()
        grid = {key: [row[i] for i in rng.permutation(len(row))] for key, row in grid.items()}
        every = (dict(zip(grid, row, strict=True)) for row in product(*grid.values()))
        return next((point for point in every if identity(point) not in taken), None)


def parse_space(
    params: Mapping[str, str],
    overrides: Sequence[str],
    conditional: str | None,
    loader: ConfigLoader,
) -> Space:
    """The space of the configuration's `params` and the command line, which takes precedence.

    Args:
        conditional: dotted name of a function of `optuna.Trial`.

    Raises:
        UserError: nothing varies, or a sweep has no meaning here.
    """
    lines = [f"{key}={value}" for key, value in params.items()]
    by_key = {o.get_key_element(): o for o in parse_overrides([*lines, *overrides], loader)}
    fixed = [str(o.input_line) for o in by_key.values() if not o.is_sweep_override()]
    distributions = {
        key: distribution(override)
        for key, override in by_key.items()
        if override.is_sweep_override()
    }
    if not distributions and conditional is None:
        raise UserError(
            "The sweep varies nothing: give `key=choice(a,b)`, `key=range(1,5)` or "
            "`key=interval(0.1,1)`, or `hydra.sweeper.params` in a file of conf/sweep."
        )
    return Space(fixed, distributions, None if conditional is None else get_method(conditional))


def distribution(override: Override) -> BaseDistribution:
    """Optuna's distribution for one sweep override.

    Raises:
        UserError: an empty range, an interval the wrong way round, or a log scale from 0.
    """
    value = override.value()
    log = "log" in getattr(value, "tags", ())
    try:
        match value:
            case IntervalSweep(start=low, end=high):
                if isinstance(low, int) and isinstance(high, int):
                    return IntDistribution(low, high, log=log)
                return FloatDistribution(float(low or 0), float(high or 0), log=log)
            case RangeSweep():
                values = list(value.range())
                if isinstance(values[0], int) and not log:
                    return IntDistribution(min(values), max(values), step=abs(int(value.step)))
                return CategoricalDistribution(values)
            case _:
                elements = list(override.sweep_iterator())
                return CategoricalDistribution([choice(element) for element in elements])
    except (ValueError, IndexError) as error:
        raise UserError(f"`{override.input_line}`: {error or 'no values'}") from error


def identity(point: Mapping[str, Any]) -> str:
    """A text that is equal for points with equal runs; 1, 1.0 and true are different."""
    return json.dumps(point, sort_keys=True)


def num_values(distribution: BaseDistribution) -> int | None:
    """The number of values; None if it is infinite."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return len(set(map(spelled_value, choices)))
        case IntDistribution(low=low, high=high, step=step):
            return (high - low) // step + 1
    return 1 if distribution.single() else None


def values(distribution: BaseDistribution) -> list[Any]:
    """The values of a finite distribution."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return list(choices)
        case IntDistribution(low=low, high=high, step=step):
            return list(range(low, high + 1, step))
        case FloatDistribution(low=low):
            return [low]
    raise TypeError(distribution)


def choices_or_range(distribution: BaseDistribution) -> list[Any] | str:
    """The choices of a distribution, or its range in the syntax of this module."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return list(choices)
        case IntDistribution(low=low, high=high, step=step) if step > 1:
            return f"range({low}, {high + 1}, {step})"
        case FloatDistribution(low=low, high=high, log=log):
            text = f"interval({low}, {high})"
        case IntDistribution(low=low, high=high, log=log):
            text = f"int(interval({low}, {high}))"
        case _:
            raise TypeError(distribution)
    return f"tag(log, {text})" if log else text


def choice(element: Any) -> Any:
    """A value that storages can hold: plain values as they are, others as text."""
    if element is None or isinstance(element, (bool, int, float)):
        return element
    return value_text(element)


def suggest(trial: optuna.Trial, key: str, distribution: BaseDistribution) -> Any:
    """Draw one value."""
    match distribution:
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_float(key, low, high, step=step, log=log)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(key, low, high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(key, choices)


def spelled_value(value: Any) -> str:
    """A drawn value as an override writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
