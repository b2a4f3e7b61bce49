"""What a sweep gives a run that is one of its trials."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrialHooks:
    """The part of a run in a sweep.

    Args:
        title: name of the MLflow run; empty for the run's own.
        tags: for the MLflow run.
        report: takes the epoch and its metrics after each evaluation; may raise `Pruned`.
    """

    title: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    report: Callable[[int, Mapping[str, float]], None] | None = None
