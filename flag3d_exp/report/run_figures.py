"""Write the figures and tables of a finished run to its folder and to MLflow."""

import logging
from collections.abc import Sequence
from pathlib import Path

from flag3d_exp import files
from flag3d_exp.engine.train import Plan, Progress
from flag3d_exp.reading.arrays import npz_arrays
from flag3d_exp.report.figures import confusion_figure, curves_figure
from flag3d_exp.results.lifting import error_table
from flag3d_exp.results.metrics import confusion_matrix, predictions
from flag3d_exp.results.repetitions import count_metrics, estimates_line
from flag3d_exp.runs.run_folder import History, inside, save_metrics
from flag3d_exp.runs.tracking import Tracker

log = logging.getLogger(__name__)


def publish(
    folder: Path,
    history: History,
    plan: Plan,
    progress: Progress,
    class_names: Sequence[str],
    tracker: Tracker,
) -> None:
    """Write metrics.json and the figures; log them, the checkpoints and the predictions.

    Args:
        class_names: as in `publish_predictions`.
    """
    history.flush()
    metrics = progress.best_metrics | {"best_epoch": float(progress.best_epoch)}
    tracker.log_artifact(save_metrics(folder, metrics))
    figures = inside(folder, "figures")
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


def publish_predictions(folder: Path, class_names: Sequence[str], tracker: Tracker) -> None:
    """Write figures and tables of every split's predictions; log them and the predictions.

    Scores of classes make a confusion matrix; errors of joints make `errors_<split>.csv`, by joint
    and by class; counts make `counts_<split>.csv`, by recording, and MAE and OBO with intervals.

    Args:
        class_names: by label.
    """
    figures = inside(folder, "figures")
    figures.mkdir(exist_ok=True)
    for name in sorted(path.name for path in (folder / "predictions").glob("*.npz")):
        path = inside(folder, "predictions", name)
        kept = npz_arrays(path)
        if "scores" in kept:
            scores, labels = kept["scores"], kept["labels"]
            confusion = confusion_matrix(predictions(scores), labels, scores.shape[1])
            figure = confusion_figure(confusion, class_names)
            files.write_figure(figures / f"confusion_{path.stem}.png", figure, dpi=150)
        if "measures" in kept:
            errors, labels = kept["joint_errors"], kept["labels"]
            joints, measures = kept["joints"].tolist(), kept["measures"].tolist()
            table = inside(folder, f"errors_{path.stem}.csv")
            rows = error_table(errors, labels, joints, measures, class_names)
            files.write_rows(table, list(rows[0]), [list(row.values()) for row in rows])
            tracker.log_artifact(table)
        if "true_counts" in kept:
            table = inside(folder, f"counts_{path.stem}.csv")
            counts = [kept["counts"].astype(int).tolist(), kept["true_counts"].tolist()]
            rows = zip(kept["names"].tolist(), *counts, strict=True)
            files.write_rows(table, ["name", "count", "true"], rows)
            log.info("%s: %s", path.stem, estimates_line(count_metrics(*counts)))
            tracker.log_artifact(table)
        tracker.log_artifact(path, "predictions")
    for path in sorted(figures.glob("*.png")):
        tracker.log_artifact(path, "figures")
