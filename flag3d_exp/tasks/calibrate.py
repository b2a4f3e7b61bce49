"""`task=calibrate`: fit a temperature on one split, and report its effect on the others.

For a network of `problem=align` with unseen classes, also fit the gate between trained and other
classes.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from flag3d_exp import bounds, console, files, markdown
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model, trained_batch_size
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.engine.interrupt import StopRequest
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.problems.align import Align
from flag3d_exp.problems.problem import Arrays, Problem
from flag3d_exp.report.figures import reliability_figure
from flag3d_exp.results.metrics import average_clips, calibration
from flag3d_exp.results.temperature import RANGE, calibration_error, fitted_temperature, mean_loss
from flag3d_exp.results.zero_shot import GATES, HARMONIC, fitted_gate
from flag3d_exp.runs import record
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.runs.run_folder import save_metrics
from flag3d_exp.runs.session import Evaluator, forward_passes
from flag3d_exp.runs.transductive import note_transductive
from flag3d_exp.splits import UNSEEN

log = logging.getLogger(__name__)
FEW = 100  # recordings; a temperature that is fitted on fewer is unreliable
Outputs = dict[str, tuple[np.ndarray, np.ndarray]]  # split -> logits (n, num_clips, K), labels (n,)


@dataclass(frozen=True)
class Calibrate:
    """Settings of `task=calibrate`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best checkpoint) or an MLflow run id.
        split: the split to fit the temperature on.
        batch_size: clips per forward pass; None for the run's own.
        num_workers: threads that prepare clips.
    """

    checkpoint: str
    split: str = "val"
    batch_size: Annotated[int, ">= 1, <= 65536"] | None = None
    num_workers: Annotated[int, ">= 1"] = 1

    def __post_init__(self) -> None:
        bounds.check(self, "task")

    def __call__(self, experiment: Experiment) -> None:
        """Fit; write `calibration.md`, `calibration.json` and `calibration.png`."""
        folder = experiment.folder
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        splits = [split for split in experiment.splits if split != "train"]
        if self.split not in splits:
            raise UserError(
                f"`task.split` must be one of `dataset.splits` but `train`, {', '.join(splits)}; "
                f"got {self.split!r}.{nearest(self.split, splits)}"
            )
        device, device_name = experiment.device()
        datasets = experiment.datasets(splits)
        problem = experiment.classification("calibrate")
        model = restored_model(experiment, checkpoint, datasets.values())
        size = self.batch_size or trained_batch_size(checkpoint)
        predict = Predictor(model, device.compiles(forward_passes(datasets.values(), size)))
        log.info(experiment.header(device_name, model, datasets))
        with (
            experiment.track(device_name, datasets) as tracker,
            console.progress_bar() as bar,
            StopRequest() as stop,
        ):
            logits_of: Any = LogitsOf(problem)  # has all methods that an evaluation needs
            evaluator = Evaluator(logits_of, predict, size, self.num_workers, stop=stop, bar=bar)
            outputs: Outputs = {}
            for split, data in datasets.items():
                logits, targets = evaluator.predictions(split, data)
                outputs[split] = logits, targets["label"]
            temperature = fitted_temperature(*outputs[self.split])
            found = doubts(temperature, len(outputs[self.split][1]), self.split)
            metrics = measures(outputs, temperature)
            text = table(metrics, list(outputs), self.split)
            fitted = {"temperature": temperature}
            unseen = self.split + UNSEEN
            if isinstance(problem, Align) and unseen in outputs:
                fitted["gate"], mean = gate(problem, outputs[self.split], outputs[unseen])
                metrics[f"{unseen}_calibrated/{HARMONIC}"] = mean
                found += doubts_of_gate(fitted["gate"], unseen)
                text += "\n\n" + said_of_gate(fitted["gate"], mean, unseen)
            for line in found:
                log.warning(line)
            files.write_text(folder / "calibration.md", text)
            files.write_json(
                folder / "calibration.json", fitted | {"split": self.split, "metrics": metrics}
            )
            files.write_figure(
                folder / "calibration.png", reliability_figure(bins(outputs, temperature)), dpi=130
            )
            tracker.log_report(record.final_report(metrics | fitted))
            tracker.log_artifact(save_metrics(folder, metrics | fitted))
            for name in ("calibration.md", "calibration.json", "calibration.png"):
                tracker.log_artifact(folder / name)
            note_transductive(folder, checkpoint.meta, tracker)
        console.show(text)
        console.say(
            f"temperature {temperature:.4g}: `problem.temperature={temperature:.4g}` makes "
            "task=predict, task=evaluate and task=export use it"
        )
        if "gate" in fitted:
            console.say(
                f"gate {fitted['gate']:.4g}: `problem.gate={fitted['gate']:.4g}` makes "
                "task=predict, task=evaluate and task=export use it"
            )
        for line in experiment.places(tracker):
            log.info(line)


@dataclass(frozen=True)
class LogitsOf:
    """A problem whose predictions are the unchanged outputs of the network."""

    problem: Problem

    def test_inputs(self, clips: np.ndarray, targets: Arrays) -> Arrays:
        """The same inputs as the problem's."""
        return self.problem.test_inputs(clips, targets)

    def predictions(self, outputs: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """The outputs (n, num_clips, K)."""
        return outputs


def gate(
    problem: Align,
    seen: tuple[np.ndarray, np.ndarray],
    unseen: tuple[np.ndarray, np.ndarray],
) -> tuple[float, float]:
    """`problem.gate` with the best harmonic mean on recordings of seen and unseen classes; both."""
    now = problem.gate * ~problem.trained
    (logits, labels), (others, other_labels) = seen, unseen
    return fitted_gate((logits - now, labels), (others - now, other_labels), problem.trained)


def measures(outputs: Outputs, temperature: float) -> dict[str, float]:
    """ECE in percent and NLL of each split: `<split>/ece`, calibrated `<split>_calibrated/ece`."""
    found: dict[str, float] = {}
    for split, (logits, labels) in outputs.items():
        for name, value in ((split, 1.0), (f"{split}_calibrated", temperature)):
            found[f"{name}/ece"] = 100 * calibration_error(logits, labels, value)
            found[f"{name}/loss"] = mean_loss(logits, labels, value)
    return found


def table(metrics: Mapping[str, float], splits: list[str], fitted_on: str) -> str:
    """A Markdown table: ECE and NLL of each split before and after calibration."""
    rows = []
    for split in splits:
        name = f"{split} (fitted on)" if split == fitted_on else split
        values = [
            f"{metrics[f'{one}/{key}']:.{digits}f}"
            for key, digits in (("ece", 1), ("loss", 3))
            for one in (split, f"{split}_calibrated")
        ]
        rows.append([name, *values])
    header = ["split", "ECE %", "calibrated", "NLL", "calibrated"]
    return markdown.table(header, rows)


def said_of_gate(value: float, mean: float, unseen: str) -> str:
    """A paragraph about the fitted gate and its harmonic mean in percent."""
    return (
        f"Gate {value:.4g}, fitted on {unseen}: harmonic mean of seen and unseen classes "
        f"{mean:.2f} %. Report results with it on other unseen classes only.\n"
    )


def bins(outputs: Outputs, temperature: float) -> dict:
    """The reliability diagram of each split before and after calibration."""
    return {
        f"{split}{suffix}": calibration(average_clips(logits / value), labels)
        for split, (logits, labels) in outputs.items()
        for suffix, value in (("", 1.0), (", calibrated", temperature))
    }


def doubts(temperature: float, num_recordings: int, split: str) -> list[str]:
    """Possible problems of a fitted temperature, one sentence each."""
    found = []
    if num_recordings < FEW:
        found.append(
            f"{split} has {num_recordings} recordings; with fewer than {FEW}, the "
            "temperature depends much on the choice of recordings."
        )
    if not 1.01 * RANGE[0] < temperature < 0.99 * RANGE[1]:
        found.append(
            f"The temperature {temperature:.3g} is at an end of the tried range, {RANGE[0]:g} to "
            f"{RANGE[1]:g}: all predictions of {split} are right, or the network learnt nothing."
        )
    return found


def doubts_of_gate(value: float, unseen: str) -> list[str]:
    """Possible problems of a fitted gate, one sentence each."""
    if GATES[0] < value < GATES[-1]:
        return []
    return [
        f"The gate {value:.4g} is at an end of the tried range, {GATES[0]:g} to {GATES[-1]:g}: "
        f"no gate recognises both the classes of {unseen} and the trained ones."
    ]
