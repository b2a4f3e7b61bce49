"""`task=streams`: train or reuse one model per stream, and fuse their scores (2s-AGCN)."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flag3d_exp.config.command_line import assignment, select, shell_command, within
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.errors import WANTS_TRACEBACK, UserError
from flag3d_exp.results import fusion
from flag3d_exp.runs.references import Run, open_run, open_runs
from flag3d_exp.tasks.fuse import fuse_runs, track

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Streams:
    """Settings of `task=streams`.

    Args:
        streams: names of the `stream` group; each is trained by a separate run.
        weights: one per stream; only their ratios matter. None: equal weights.
        runs: run folders or MLflow run ids to use instead of training their stream.
        train: settings of `task=train` for the training runs, such as {epochs: 16}.
        experiment: the experiment that the training runs follow, with its model and settings.
    """

    streams: list[str]
    weights: list[float] | None = None
    runs: list[str] = field(default_factory=list)
    train: dict[str, int | float | bool | str | None] | None = None
    experiment: str | None = None

    def __post_init__(self) -> None:
        if len(self.streams) < 2 or len(set(self.streams)) < len(self.streams):
            raise UserError(f"`task.streams` must name different streams; got {self.streams}.")
        if self.weights is not None:
            fusion.check_weights(self.weights, len(self.streams))

    def __call__(self, experiment: Experiment) -> float | None:
        """Train the missing streams and fuse; return the top-1 of `val` in percent."""
        folder = experiment.folder
        found = self._runs_by_stream(experiment)
        for stream in self.streams:
            own = folder / stream
            if stream in found:
                log.info("%s: taken from %s", stream, found[stream].reference)
            elif (own / "metrics.json").exists():
                log.info("%s: already trained, in %s", stream, own)
            else:
                train(own, self._overrides(experiment, stream), experiment.flags)
        references = [
            found[stream].reference if stream in found else str(folder / stream)
            for stream in self.streams
        ]
        metrics = fuse_runs(folder, open_runs(references, experiment.tracking_uri), self.weights)
        track(experiment, folder, metrics)
        log.info("run folder: %s", folder)
        return metrics.get("val/top1")

    def _overrides(self, experiment: Experiment, stream: str) -> list[str]:
        chosen = ("experiment", self.experiment)
        if self.experiment is None:
            chosen = ("model", experiment.choices["model"])
        return child_overrides(experiment.overrides, chosen, stream, self.train or {})

    def _runs_by_stream(self, experiment: Experiment) -> dict[str, Run]:
        """The given runs, by stream."""
        found: dict[str, Run] = {}
        for reference in self.runs:
            run = open_run(reference, experiment.tracking_uri)
            stream = run.config.get("stream", {}).get("name")
            if stream not in self.streams:
                raise UserError(
                    f"`task.runs`: {reference} is of stream {stream}; "
                    f"accepted: {', '.join(self.streams)}."
                )
            if stream in found:
                raise UserError(
                    f"`task.runs`: {found[stream].reference} and {reference} are both of "
                    f"stream {stream}."
                )
            found[stream] = run
        return found


def child_overrides(
    overrides: Sequence[str],
    chosen: tuple[str, str | None],
    stream: str,
    settings: Mapping[str, int | float | bool | str | None],
) -> list[str]:
    """The command line of one stream's training run.

    Args:
        overrides: of this run; their choices of task, stream and experiment are replaced.
        chosen: `model` or `experiment`, and the choice.
        settings: of `task=train`.
    """
    replaced = ("task", "stream", "experiment", "hydra")
    kept = select(overrides, lambda key: not within(key, *replaced) and key != chosen[0])
    own = {"task": "train", "task.resume": "auto", "stream": stream, chosen[0]: chosen[1]}
    given = {f"task.{name}": value for name, value in settings.items()}
    return [
        *(assignment(key, value) for key, value in own.items()),  # `auto` continues in its folder
        *kept,
        *(assignment(key, value) for key, value in given.items()),
    ]


def train(folder: Path, overrides: Sequence[str], flags: Sequence[str]) -> None:
    """Train in a separate process, because MindSpore and Hydra each serve one run per process.

    Args:
        flags: flags of the command line that name the folders of choices.

    Raises:
        UserError: the training run failed; it has already printed the reason.
    """
    words = [*overrides, assignment("hydra.run.dir", str(folder))]
    command = [sys.executable, "-m", "flag3d_exp", *flags, *words]
    log.info("%s", shell_command(words, flags))
    environment = os.environ | {"HYDRA_FULL_ERROR": str(int(WANTS_TRACEBACK))}
    with (
        subprocess.Popen(command, env=environment) as process,
        _passing_on_signals(process),
    ):
        code = process.wait()
    if code:
        raise UserError(f"the training run in {folder} ended with exit code {code}.")


@contextmanager
def _passing_on_signals(process: subprocess.Popen) -> Iterator[None]:
    """Pass SIGTERM to the training run, which saves its state; Ctrl-C reaches it anyway."""

    def pass_on(number: int, frame: object) -> None:
        process.send_signal(number)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
        signal.SIGINT: signal.signal(signal.SIGINT, lambda number, frame: None),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
