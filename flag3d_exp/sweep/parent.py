"""The MLflow run of a sweep: the parent of its trials' runs, shared by all drivers."""

from pathlib import Path

import optuna
from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig

from flag3d_exp.runs import tracking
from flag3d_exp.runs.run_folder import Report, mlflow_run
from flag3d_exp.sweep import results
from flag3d_exp.sweep.space import spelled_value
from flag3d_exp.sweep.trial_records import TrialRecords

NOTE = "mlflow.note.content"  # tag that MLflow shows as the run's description, in Markdown
RUN = "mlflow"  # user attribute of the study: tracking URI -> run id


def start(config: DictConfig, name: str, folder: Path, run_id: str | None) -> tracking.Tracker:
    """Start a new parent run, or continue `run_id`."""
    settings: tracking.Tracking = instantiate(config.tracking, _convert_="all")
    tags = {
        "sweep": str(config.hydra.runtime.choices.get("sweep")),
        "run_folder": str(folder),
        "command": " ".join(["-m", *config.hydra.overrides.task]),
    }
    return settings.start(name, tags, run_id)


def of_study(config: DictConfig, study: optuna.Study, folder: Path) -> tracking.Tracker:
    """The parent run of a study; the study stores its id for drivers on other machines."""
    uri = str(config.tracking.uri)
    with FileLock(folder / ".mlflow.lock"):
        known = study.user_attrs.get(RUN, {})
        tracker = start(config, study.study_name, folder, known.get(uri))
        if tracker.run_id is not None:
            study.set_user_attr(RUN, known | {uri: tracker.run_id})
    return tracker


def child_tags(tracker: tracking.Tracker, number: int) -> dict[str, str]:
    """The tags that link the run of a trial to its parent."""
    tags = {"trial": str(number)}
    return tags if tracker.run_id is None else tags | {"mlflow.parentRunId": tracker.run_id}


def refresh(tracker: tracking.Tracker, records: TrialRecords, folder: Path) -> None:
    """Send the counts, the best trial so far, the results and the plots."""
    trials = records.trials()
    counts = results.state_counts(trials)
    metrics = {
        f"trials/{k}": float(v) for k, v in counts.items() if k not in ("running", "waiting")
    }
    metrics["trials/epochs"] = float(results.num_epochs(trials))
    best = records.study.best_trials
    if len(records.study.directions) == 1 and best:
        metrics["best_value"] = best[0].values[0]
        tags = {f"best.{k.strip('+~')}": spelled_value(v) for k, v in best[0].params.items()}
        tracker.set_tags(tags | {"best_trial": str(best[0].number)})
    ended = [trial.datetime_complete for trial in trials if trial.state.is_finished()]
    times = [moment.timestamp() for moment in ended if moment is not None]
    # No time of logging: MLflow stores equal points once, so several drivers may send the same.
    tracker.log_report(Report(len(ended), int(1000 * max(times, default=0.0)), metrics))
    for path in sorted((folder / "plots").glob("*.png")):
        tracker.log_artifact(path, "plots")
    tracker.log_artifact(folder / results.FILE)


def close_child(folder: Path) -> None:
    """Close the MLflow run that a dead process left RUNNING."""
    known = mlflow_run(folder)
    if known is not None and known.run_id is not None and known.uri is not None:
        tracking.close(known.run_id, known.uri, "FAILED", {tracking.TRIAL_STATE: "failed"})
