"""The MLflow run of a study, parent of its trials' runs; continued by every driver."""

import json
import time
from pathlib import Path

import optuna
from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig

from flag3d_exp import tracking
from flag3d_exp.run_folder import Report
from flag3d_exp.sweep import results
from flag3d_exp.sweep.ledger import Ledger
from flag3d_exp.sweep.space import spelled

RUN = "mlflow"  # user attribute of the study: tracking URI -> run id


class Parent:
    """The study's run in the MLflow store of the configuration."""

    def __init__(self, config: DictConfig, study: optuna.Study, folder: Path):
        settings: tracking.Tracking = instantiate(config.tracking, _convert_="all")
        self._uri = settings.uri
        choices = config.hydra.runtime.choices
        tags = {
            "sweep": str(choices.get("sweep")),
            "study": study.study_name,
            "run_folder": str(folder),
            "command": " ".join(["-m", *config.hydra.overrides.task]),
        }
        with FileLock(folder / ".mlflow.lock"):
            known = study.user_attrs.get(RUN, {})
            self._tracker = settings.start(study.study_name, tags, known.get(self._uri))
            if self._tracker.run_id is not None:
                study.set_user_attr(RUN, known | {self._uri: self._tracker.run_id})
        self._num_ended = -1

    def child_tags(self, number: int) -> dict[str, str]:
        """What ties a trial's run to this one."""
        tags = {"trial": str(number)}
        if self._tracker.run_id is not None:
            tags["mlflow.parentRunId"] = self._tracker.run_id
        return tags

    def refresh(self, ledger: Ledger, folder: Path) -> None:
        """Send the counts, the best so far and the plots."""
        trials = ledger.trials()
        num_ended = sum(trial.state.is_finished() for trial in trials)
        metrics = {f"trials/{k}": float(v) for k, v in results.state_counts(trials).items()}
        metrics["trials/epochs"] = float(results.num_epochs(trials))
        best = ledger.study.best_trials
        if len(ledger.study.directions) == 1 and best:
            metrics["best_value"] = best[0].values[0]
            tags = {f"best.{k.strip('+~')}": spelled(v) for k, v in best[0].params.items()}
            self._tracker.set_tags(tags | {"best_trial": str(best[0].number)})
        if num_ended != self._num_ended:
            now = time.time_ns() // 1_000_000
            self._tracker.log_report(Report(num_ended, now, metrics))
            self._num_ended = num_ended
        for path in sorted((folder / "plots").glob("*.png")):
            self._tracker.log_artifact(path, "plots")
        if (folder / results.FILE).exists():
            self._tracker.log_artifact(folder / results.FILE)

    def finish(self, status: tracking.Status) -> None:
        """Close the run."""
        self._tracker.finish(status)


def close_child(folder: Path) -> None:
    """Close the MLflow run that a dead process left RUNNING."""
    path = folder / "mlflow.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["run_id"] is not None:
            tracking.close(known["run_id"], known["uri"], "FAILED", {tracking.TRIAL_STATE: "failed"})
