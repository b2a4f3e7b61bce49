"""The hooks that a sweep gives to the run of a trial."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrialHooks:
    """Name, tags and report function of a run in a sweep.

    Args:
        title: name of the MLflow run; empty for the run's default name.
        tags: for the MLflow run.
        report: called with the epoch and its metrics after each evaluation; may raise `Pruned`.
    """

    title: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    report: Callable[[int, Mapping[str, float]], None] | None = None
