"""The MLflow run of a study, which every driver continues."""

from pathlib import Path

from mlflow.tracking import MlflowClient
from omegaconf import OmegaConf

from flag3d_exp.runs.tracking import connect
from flag3d_exp.sweep import parent, results
from flag3d_exp.sweep.storage import open_study
from flag3d_exp.sweep.trial_records import TrialRecords


def test_a_driver_started_again_tells_what_is_known_once(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    connect(uri)
    config = OmegaConf.create(
        {
            "tracking": {"_target_": "flag3d_exp.runs.tracking.Tracking", "uri": uri},
            "hydra": {"runtime": {"choices": {"sweep": "search"}}, "overrides": {"task": []}},
        }
    )
    study, storage, _ = open_study(tmp_path, "s", str(tmp_path / "j.log"), ["maximize"], {})
    records = TrialRecords(study, storage)
    study.tell(study.ask(), 0.5)
    Path(tmp_path, results.FILE).write_text("study: s\n")
    for _ in range(2):  # drivers, one after the other
        tracker = parent.of_study(config, study, tmp_path)
        parent.refresh(tracker, records, tmp_path)
        assert tracker.finish("FINISHED")
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("flag3d_exp")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    for name, value in (("best_value", 0.5), ("trials/complete", 1)):
        points = client.get_metric_history(run.info.run_id, name)
        assert [(point.step, point.value) for point in points] == [(1, value)]
