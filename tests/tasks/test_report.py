import json
import re
from pathlib import Path

import numpy as np
import pytest
from cli import TINY, refused, succeeded
from made_up_runs import made_up_run
from mlflow.tracking import MlflowClient

from flag3d_exp.data.demo.dataset import demo_path
from flag3d_exp.data.formats.pickles import plain, read_pickle
from flag3d_exp.errors import UserError
from flag3d_exp.results import metrics
from flag3d_exp.results.published import BODY_PARTS
from flag3d_exp.runs.references import open_runs
from flag3d_exp.tasks.report import write_report

CLASSES = ["jump", "sit", "run"]
NAMES = [f"r{number}" for number in range(60)]
LABELS = np.arange(60) % 3
CONFIG = {
    "dataset": {"name": "made up", "classes": CLASSES},
    "model": {"_target_": "x.AGCN"},
    "stream": {"name": "joint"},
}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A report on two runs with two splits each."""
    folder = tmp_path_factory.mktemp("report")
    quality = {"val": 3.0, "out_domain": 1.0}
    paths = [
        made_up_run(folder / "a", quality, NAMES, LABELS, 3, seed=1, config=CONFIG),
        made_up_run(folder / "b", quality, NAMES, LABELS, 3, seed=2),
    ]
    write_report(folder / "report", open_runs(paths))
    return folder / "report"


def top1(run: str, split: str, folder: Path) -> float:
    with np.load(folder.parent / run / "predictions" / f"{split}.npz") as kept:
        return 100 * metrics.top_k_accuracy(kept["scores"], kept["labels"], 1)


def test_metrics_json_holds_the_first_run_plain_and_others_by_title(report):
    values = json.loads((report / "metrics.json").read_text())
    for split in ("val", "out_domain"):
        assert values[f"{split}/top1"] == pytest.approx(top1("a", split, report))
        assert values[f"b/{split}/top1"] == pytest.approx(top1("b", split, report))
        assert values[f"{split}/top1_low"] < values[f"{split}/top1"] < values[f"{split}/top1_high"]
    drop = top1("a", "val", report) - top1("a", "out_domain", report)
    assert values["gap/out_domain/top1"] == pytest.approx(drop)


def test_the_page_loads_nothing_and_shows_every_part(report):
    page = (report / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", page)
    assert headings == [
        "Accuracy",
        "Domain gap",
        "Differences between runs",
        "Split val",
        "Split out_domain",
        "Configuration and how to reproduce it",
    ]
    for caption in (
        "Top-1 by class",
        "Confusion matrix of AGCN joint",
        "Domain gap",
        "Reliability",
    ):
        assert f"<figcaption>{caption}" in page
    assert "python -m flag3d_exp model=agcn seed=1" in page
    assert "published" not in page  # these are not FLAG3D's classes


def test_markdown_holds_the_same_numbers(report):
    text = (report / "report.md").read_text()
    assert f"| AGCN joint | {top1('a', 'val', report):.3f} [" in text
    assert "| AGCN joint - b |" in text


def test_runs_on_different_recordings_are_refused(tmp_path):
    paths = [
        made_up_run(tmp_path / "a", {"val": 1.0}, NAMES, LABELS, 3),
        made_up_run(tmp_path / "b", {"val": 1.0}, ["x", *NAMES[1:]], LABELS, 3),
    ]
    with pytest.raises(UserError, match="1 only in the first, 1 only in the second"):
        write_report(tmp_path / "report", open_runs(paths))


def test_the_worst_recordings_are_shown_where_the_dataset_is_there(tmp_path):
    data = read_pickle(demo_path("in_domain"))
    labels = {a["frame_dir"]: plain(a["label"]) for a in data["annotations"]}
    names = data["split"]["val"][:32]
    config = {
        "dataset": {
            "name": "demo (synthetic)",
            "path": "demo_in_domain",
            "layout": "nturgb+d",
            "num_classes": 16,
            "splits": {"val": "val"},
            "cache": None,
        }
    }
    run = made_up_run(
        tmp_path / "a", {"val": 1.0}, names, np.array([labels[n] for n in names]), 16, config=config
    )
    page = write_report(tmp_path / "report", open_runs([run]), num_worst=3).read_text()
    assert page.count("<canvas") == 3
    assert "The data are synthetic" in page
    assert "P002" not in page and "P001" in page


def published_run(folder: Path, source: Path, split: str, recording: str) -> None:
    """A run folder that holds a published model's predictions; scores are 0 and 1."""
    labels, predicted = np.loadtxt(source, delimiter=",", skiprows=1, dtype=np.int64).T
    names = [recording.format(person=row, action=label + 1) for row, label in enumerate(labels)]
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "predictions" / f"{split}.npz",
        names=np.array(names),
        labels=labels,
        scores=np.eye(60, dtype=np.float32)[predicted],
    )


def test_published_predictions_give_the_published_report(shared, tmp_path):
    run = tmp_path / "aagcn"
    mocap, video = "S002C002M001P{person}A{action:03}R001", "P{person}_A{action:03}_V001_R001_S001"
    # Persons told apart by number and by letters, so that every name is FLAG3D's and its own.
    published = shared / "published"
    published_run(run, published / "aagcn_in_domain.csv", "val", mocap)
    published_run(run, published / "aagcn_out_domain.csv", "out_domain", video)
    page = write_report(tmp_path / "report", open_runs([str(run)]))
    values = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert f"{values['val/top1']:.3f}" == "98.565"
    assert f"{values['out_domain/top1']:.3f}" == "81.500"
    assert page.stat().st_size < 5_000_000


def test_flag3d_runs_stand_beside_the_published_results(shared, tmp_path):
    labels = np.arange(120) % 60
    names = [f"P{'AB'[row // 60]}_A{row % 60 + 1:03}_V001_R001_S001" for row in range(120)]
    run = made_up_run(tmp_path / "a", {"val": 4.0}, names, labels, 60)
    write_report(tmp_path / "report", open_runs([run]))
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| published, MindSpore 2023: PoseC3D | 79.889 [78.947, 80.799] |" in text
    assert "| published, CVPR 2023: 2s-AGCN | 81.60 |" in text
    assert all(f"| {part} |" in text for part in BODY_PARTS)


@pytest.mark.slow
def test_the_task_writes_its_files_and_refuses_in_one_line(tmp_path):
    made_up_run(tmp_path / "a", {"val": 2.0}, NAMES, LABELS, 3)
    printed = succeeded(tmp_path, "task=report", "task.runs=[a]", "hydra.run.dir=out")
    assert "report.html" in printed
    for name in ("report.html", "report.md", "metrics.json"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    line = refused(tmp_path, "task=report", "task.runs=[a,nowhere]", "hydra.run.dir=out2")
    assert "nowhere is neither a run folder, nor a file, nor an MLflow run id" in line


@pytest.mark.slow
def test_an_mlflow_run_is_found_by_its_id_and_gets_the_report(tmp_path):
    succeeded(tmp_path, *TINY, "task.epochs=2", "hydra.run.dir=run")
    run_id = json.loads((tmp_path / "run" / "mlflow.json").read_text())["run_id"]
    succeeded(tmp_path, "task=report", f"task.runs=[{run_id}]", "hydra.run.dir=out")
    values = json.loads((tmp_path / "out" / "metrics.json").read_text())
    trained = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert values["val/top1"] == pytest.approx(trained["val/top1"])
    assert "Training of STGCN joint" in (tmp_path / "out" / "report.html").read_text()
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    attached = [artifact.path for artifact in client.list_artifacts(run_id, "report")]
    assert attached == ["report/report.html", "report/report.md"]


def test_a_report_on_many_classes_draws_a_hundred_of_them(tmp_path):
    labels = np.arange(300) % 150
    names = [f"r{number}" for number in range(300)]
    run = made_up_run(tmp_path / "a", {"val": 3.0, "out_domain": 1.0}, names, labels, 150)
    page = write_report(tmp_path / "report", open_runs([run])).read_text()
    assert "Top-1 by class (the 100 of 150 with the lowest top-1)" in page
    assert "Domain gap (the 100 of 150 that lose most)" in page
