"""A task with the manners of a training run: epochs, checkpoints, reports, and ways to go wrong."""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.runs import run_folder


@dataclass(frozen=True)
class Toy:
    """`value = -(x - 3)^2`, approached epoch by epoch.

    Args:
        fault: raise, exit or kill itself at the second epoch; `once` dies on the first try only.
        held: a file; while it is there, no epoch follows the second.
        tracked: keep an MLflow run, as training does.
    """

    x: float = 0.0
    epochs: int = 4
    seconds: float = 0.0
    held: str | None = None
    fault: str | None = None
    tracked: bool = False
    objective: str = "val/top1"
    resume: str | None = None

    def __call__(self, experiment: Experiment) -> float:
        if self.tracked:
            with experiment.track("CPU"):
                return self.train(experiment)
        return self.train(experiment)

    def train(self, experiment: Experiment) -> float:
        folder = experiment.folder
        history = folder / "history.jsonl"
        done = len(history.read_text().splitlines()) if self.resume else 0
        print(f"starts after epoch {done}", flush=True)
        value = 0.0
        with StopRequest() as stop:
            for epoch in range(done + 1, self.epochs + 1):
                time.sleep(self.seconds)
                while epoch > 2 and self.held and Path(self.held).exists():
                    stop.check()
                    time.sleep(0.02)
                value = -((self.x - 3) ** 2) - (self.epochs - epoch)
                with open(history, "a") as file:
                    file.write(json.dumps({"epoch": epoch, "pid": os.getpid()}) + "\n")
                if epoch == 2:
                    self.fail(first_try=done == 0)
                if experiment.trial is not None and experiment.trial.report is not None:
                    experiment.trial.report(epoch, {self.objective: value})
                stop.check()
        run_folder.save_metrics(folder, {"val/top1": value, "size": self.x})
        return value

    def fail(self, first_try: bool) -> None:
        match self.fault:
            case "raise":
                raise RuntimeError("this toy is broken")
            case "exit":
                sys.exit(3)
            case "die":
                os.kill(os.getpid(), 9)
            case "once" if first_try:
                os.kill(os.getpid(), 9)


def odd_x(own) -> None:
    """A conditional space: `task.x` only where `task.epochs` is 4."""
    if own.params["task.epochs"] == 4:
        own.suggest_float("task.x", 1.0, 2.0)
