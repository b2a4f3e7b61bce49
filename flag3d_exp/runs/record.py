"""What a run leaves behind: its MLflow run, its tags, its figures, its final metrics."""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from flag3d_exp import files
from flag3d_exp.config import build
from flag3d_exp.engine.interrupt import Interrupted
from flag3d_exp.engine.train import NonFiniteLoss, Plan, Progress
from flag3d_exp.errors import UserError
from flag3d_exp.report.figures import confusion_figure, curves_figure
from flag3d_exp.results.metrics import confusion_matrix, predictions
from flag3d_exp.runs.provenance import provenance
from flag3d_exp.runs.run_folder import History, Report, save_metrics
from flag3d_exp.runs.tracking import TRIAL_STATE, Status, Tracker, Tracking
from flag3d_exp.sweep import trial

if TYPE_CHECKING:
    from flag3d_exp.data.dataset import ClipDataset

log = logging.getLogger(__name__)


@contextmanager
def tracked_run(
    cfg: DictConfig,
    folder: Path,
    device_name: str,
    datasets: Mapping[str, "ClipDataset"],
) -> Iterator[Tracker]:
    """An MLflow run for the time of the block; FINISHED, FAILED or KILLED at its end."""
    tracking: Tracking = build.instantiated(cfg.tracking)
    tags = provenance() | {
        "model": build.class_name(cfg.model),
        "dataset": cfg.dataset.name,
        "stream": cfg.stream.name,
        "device": device_name,
        "run_folder": str(folder),
        "command": " ".join(HydraConfig.get().overrides.task),
    }
    own = trial.ticket(folder)
    tags |= own.tags if own else {}
    title = own.title if own and own.title else build.run_title(cfg)
    run_id = tracking_run_id(folder, tracking.uri)
    tracker = tracking.start(title, tags, run_id)
    if run_id is not None:
        tracker.log_reports(History(folder).reports)  # some were not delivered before it stopped
    files.write_json(folder / "mlflow.json", {"uri": tracking.uri, "run_id": tracker.run_id})
    tracker.log_parameters(build.plain(cfg))
    tracker.log_artifact(folder / ".hydra" / "config.yaml", "config")
    for split, data in datasets.items():
        tracker.log_dataset(str(cfg.dataset.path), cfg.dataset.name, data.digest, split)
    status: Status = "FAILED"
    state = "failed"
    try:
        yield tracker
        status, state = "FINISHED", "complete"
    except trial.Pruned:
        status, state = "FINISHED", "pruned"
        raise
    except Interrupted:
        status = "KILLED"
        raise
    finally:
        if own:
            tracker.set_tags({TRIAL_STATE: state})
        tracker.finish(status)


def tracking_run_id(folder: Path, uri: str | None) -> str | None:
    """The MLflow run that a resumed folder belongs to."""
    path = folder / "mlflow.json"
    if not path.exists():
        return None
    known = json.loads(path.read_text(encoding="utf-8"))
    return known["run_id"] if known["uri"] == uri else None


def meta(cfg: DictConfig) -> dict[str, Any]:
    """What a checkpoint says of its run: the configuration, and the choice made in each group."""
    choices = HydraConfig.get().runtime.choices
    return {
        "config": OmegaConf.to_yaml(cfg),
        "choices": {str(k): v for k, v in choices.items() if v and not str(k).startswith("hydra")},
    }


def explained(
    error: NonFiniteLoss, folder: Path, train_split: "ClipDataset", tracker: Tracker
) -> UserError:
    """Keep the batch that gave a non-finite loss, and say which recordings are in it."""
    names = [train_split.names[index] for index in error.indices]
    clips = np.stack([train_split.clips(int(index), error.epoch) for index in error.indices])
    path = folder / f"nonfinite_step_{error.step}.npz"
    labels = train_split.labels[error.indices]
    files.write_arrays(path, {"names": np.array(names), "clips": clips, "labels": labels})
    tracker.log_artifact(path)
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return UserError(
        f"The loss is {error.loss} at step {error.step} (epoch {error.epoch + 1}); its batch of "
        f"{listed} is in {path}. A lower `optimizer.lr`, `task.clip_norm` or `task.nonfinite=skip` "
        "may help."
    )


def publish(
    folder: Path,
    history: History,
    plan: Plan,
    progress: Progress,
    class_names: list[str],
    tracker: Tracker,
) -> None:
    """Write metrics.json and the figures; log them, the checkpoints and the predictions."""
    history.flush()
    metrics = progress.best_metrics | {"best_epoch": float(progress.best_epoch)}
    tracker.log_artifact(save_metrics(folder, metrics))
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    curves = {
        name: [(step / plan.steps_per_epoch, value) for step, value in zip(*series, strict=True)]
        for name, series in history.series().items()
    }
    files.write_figure(figures / "curves.png", curves_figure(curves), dpi=150)
    publish_predictions(folder, class_names, tracker)
    for name in ("best.npz", "last.npz"):
        if (folder / "checkpoints" / name).exists():
            tracker.log_artifact(folder / "checkpoints" / name, "checkpoints")


def publish_predictions(folder: Path, class_names: list[str], tracker: Tracker) -> None:
    """Draw the confusion matrix of every split's predictions; log figures and predictions."""
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for path in sorted((folder / "predictions").glob("*.npz")):
        with np.load(path) as kept:
            scores, labels = kept["scores"], kept["labels"]
        confusion = confusion_matrix(predictions(scores), labels, scores.shape[1])
        figure = confusion_figure(confusion, class_names)
        files.write_figure(figures / f"confusion_{path.stem}.png", figure, dpi=150)
        tracker.log_artifact(path, "predictions")
    for path in sorted(figures.glob("*.png")):
        tracker.log_artifact(path, "figures")


def final_report(metrics: Mapping[str, float]) -> Report:
    """Metrics of a run that has one moment only."""
    return Report(0, time.time_ns() // 1_000_000, dict(metrics))


def class_names(cfg: DictConfig) -> list[str]:
    """The names of the classes; their numbers where the dataset gives none."""
    names = cfg.dataset.get("classes")
    return list(names) if names else [str(label) for label in range(cfg.dataset.num_classes)]
