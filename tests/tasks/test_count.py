"""`task=count`."""

import csv
import json
import pickle

import numpy as np
import pytest
from cli import refused, succeeded
from omegaconf import OmegaConf

import flag3d_exp as f3d
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.annotations import Recording, open_annotations
from flag3d_exp.data.timelines import add_repetitions
from flag3d_exp.data.windows import tracks
from flag3d_exp.errors import UserError
from flag3d_exp.tasks.count import Count, densities, read_counts


def recording(count, length=40):
    """(2, T, 17, 2): a person who squats `count` times beside one who is not seen."""
    time = np.arange(count * length) / length
    depth = 0.5 - 0.5 * np.cos(2 * np.pi * time)
    place = np.random.default_rng(0).uniform(100, 500, (17, 2))
    moved = place + depth[:, None, None] * np.linspace(-80, 80, 34).reshape(17, 2)
    return np.stack([moved, np.zeros_like(moved)])


def test_counts_frames_and_metrics_are_written(tmp_path, caplog, capsys):
    caplog.set_level("INFO", "flag3d_exp")
    np.savez(tmp_path / "two.npz", eight=recording(8), three=recording(3))
    (tmp_path / "truth.csv").write_text("name,count\neight,8\nthree,3\n")
    task = Count(str(tmp_path / "two.npz"), str(tmp_path / "truth.csv"), layout="coco")
    task(Experiment(OmegaConf.create(), tmp_path, {}))
    rows = json.loads((tmp_path / "counts.json").read_text())
    assert [(row["name"], row["person"]) for row in rows] == [("eight", 0), ("three", 0)]
    assert abs(rows[0]["count"] - 8) <= 1 and rows[0]["count"] == len(rows[0]["repetitions"])
    with open(tmp_path / "counts.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len([line for line in lines if line["name"] == "eight"]) == rows[0]["count"]
    assert int(lines[0]["last"]) > int(lines[0]["first"])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["count/obo"] == 1 and 0 <= metrics["count/mae"] < 0.4
    assert "autocorrelation/mae" in metrics
    assert "counted: MAE 0." in caplog.text and "autocorrelation: MAE" in caplog.text
    assert '"repetitions":[[' in (tmp_path / "timeline.html").read_text()
    assert "counts: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name\na\n", "must have rows under columns name and count"),
        ("name,count\n", "must have rows"),
        ("name,count\na,-1\n", "line 2: `count` and `person` must be whole numbers"),
        ("name,count\na,1\na,2\n", "line 3: its count is too large, or an earlier line"),
    ],
)
def test_a_faulty_truth_is_refused_with_its_line(tmp_path, text, expected):
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(UserError, match=expected):
        read_counts(tmp_path / "truth.csv")


def test_a_recording_without_anyone_counts_nothing(tmp_path):
    np.savez(tmp_path / "a.npz", keypoints=np.zeros((1, 30, 17, 2)))
    Count(str(tmp_path / "a.npz"), layout="coco")(Experiment(OmegaConf.create(), tmp_path, {}))
    (row,) = json.loads((tmp_path / "counts.json").read_text())
    assert (row["count"], row["autocorrelation"], row["repetitions"]) == (0, 0, [])


def test_repetitions_are_counted_within_the_segments_of_a_timeline():
    keypoints = np.concatenate([recording(5), recording(3, 60)], axis=1)
    (track,) = tracks([Recording("a", 0, keypoints)], [100], 10)
    spans = [(0, 199, 0), (200, 379, -1)]
    row = {"segments": [dict(zip(("first", "last", "label"), span, strict=True)) for span in spans]}
    add_repetitions(row, track)
    assert abs(row["segments"][0]["count"] - 5) <= 1
    assert row["segments"][1]["count"] == 0  # of what is unknown
    assert len(row["repetitions"]) == row["segments"][0]["count"]
    row["segments"][1]["label"] = 1
    add_repetitions(row, track)
    assert abs(row["segments"][1]["count"] - 3) <= 1
    assert all(one["first"] >= 200 for one in row["repetitions"][row["segments"][0]["count"] :])


def test_a_truth_of_others_and_unknown_joints_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", keypoints=recording(2))
    (tmp_path / "truth.csv").write_text("name,count\nb,8\n")
    experiment = Experiment(OmegaConf.create(), tmp_path, {})
    source = str(tmp_path / "a.npz")
    with pytest.raises(UserError, match="names person 0 of 'b', who is not seen"):
        Count(source, str(tmp_path / "truth.csv"), layout="coco")(experiment)
    with pytest.raises(UserError, match="does not say which joints it has; .*`task.layout`"):
        Count(source)(experiment)
    with pytest.raises(UserError, match="it has 17 joints, its layout 18"):
        Count(source, layout="openpose")(experiment)
    assert not (tmp_path / "counts.json").exists()


def test_recordings_that_know_their_repetitions_are_judged_by_them(tmp_path):
    squats = {"frame_dir": "a", "label": 0, "keypoint": recording(8)[:1]}
    spans = np.stack([np.arange(0, 320, 40), np.arange(39, 320, 40)], 1)
    content = {"split": {}, "annotations": [squats | {"repetitions": spans}]}
    (tmp_path / "in.pkl").write_bytes(pickle.dumps(content))
    Count(str(tmp_path / "in.pkl"), layout="coco")(Experiment(OmegaConf.create(), tmp_path, {}))
    assert json.loads((tmp_path / "metrics.json").read_text())["count/obo"] == 1


@pytest.mark.slow
def test_a_network_counts_as_task_predict_and_task_count_say(tmp_path):
    annotations = [
        {
            "frame_dir": name,
            "label": 0,
            "keypoint": recording(count)[:1].astype(np.float32),
            "repetitions": np.stack([np.arange(0, 40 * count, 40)] * 2, 1) + [0, 39],
        }
        for name, count in (("a", 3), ("b", 5), ("c", 4))
    ]
    split = {"unlabelled": ["a", "b"], "demo_val": ["c"], "repcount_val": ["c"]}
    content = {"split": split, "annotations": annotations}
    (tmp_path / "counts.pkl").write_bytes(pickle.dumps(content))
    without = [{key: value for key, value in one.items() if key != "repetitions"}
               for one in annotations]  # fmt: skip
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(content | {"annotations": without}))
    quick = ("device=cpu", "device.jit=false", "tracking=none")
    small = ("problem=count", "dataset=counts", "dataset.clip_len=32", "problem.lengths=[4,14]",
             "problem.joining.threshold=0.001", "problem.joining.width=1000",
             "problem.joining.sharpness=0", "optimizer.lr=0.0001",
             "model.base_channels=4", "model.num_blocks=2", "model.widen_at=[]",
             "task.epochs=1", *quick)  # fmt: skip
    line = refused(tmp_path, *small, "dataset.path=plain.pkl")
    assert "`repetitions` of each recording; 2 of 2 in split 'train'" in line
    printed = succeeded(tmp_path, *small, "dataset.path=counts.pkl", "hydra.run.dir=run")
    assert "val: mae" in printed and "repcount: MAE" in printed
    table = (tmp_path / "run" / "counts_val.csv").read_text().splitlines()
    assert len(table) == 2 and table[1].endswith(",4")
    again = succeeded(tmp_path, "task=evaluate", "task.checkpoint=run", *quick)
    assert "val: mae" in again and "repcount: MAE" in again
    counted = ("task.checkpoint=run", "task.input=plain.pkl", *quick)
    for task in ("count", "predict"):
        succeeded(tmp_path, f"task={task}", *counted, f"hydra.run.dir={task}")
    first, other = ((tmp_path / task / "counts.json").read_text() for task in ("count", "predict"))
    assert first == other
    rows = json.loads(first)
    assert [row["name"] for row in rows] == ["a", "b", "c"] and "rules" in rows[0]
    assert all(row["count"] == len(row["repetitions"]) for row in rows)
    truth = succeeded(
        tmp_path, "task=count", "task.checkpoint=run", "task.input=counts.pkl",
        "task.consensus=true", "hydra.run.dir=together", *quick,
    )  # fmt: skip
    for name in ("counted", "network", "rules", "autocorrelation"):
        assert f"{name}: MAE" in truth
    for row in json.loads((tmp_path / "together" / "counts.json").read_text()):
        each = [row["network"], row["rules"], row["autocorrelation"]]
        assert row["count"] == np.median(each) == len(row["repetitions"])
    succeeded(tmp_path, *small, "dataset.path=counts.pkl", "seed=2", "hydra.run.dir=second")
    alone, other, both = (
        found_rates(tmp_path, *runs) for runs in (["run"], ["second"], ["run", "second"])
    )
    known = (alone > 0) & (other > 0) & (both > 0)
    assert known.mean() > 0.5
    alone, other, both = alone[known], other[known], both[known]
    assert np.abs(np.log(alone / other)).max() > 0.05
    mean = np.sqrt(alone * other)  # the mean of the logarithms, nearly
    np.testing.assert_allclose(both, mean, rtol=0.02)
    with pytest.raises(UserError, match=r"`task.ensemble`.*nowhere"):
        found_rates(tmp_path, "run", "nowhere")
    with pytest.raises(UserError, match="^`task.ensemble`: .*the checkpoint"):
        found_rates(tmp_path, "run", "builtin")
    line = refused(tmp_path, "task=predict", *counted, "task.window=50")
    assert "trained with `problem=count`" in line
    line = refused(tmp_path, "task=calibrate", "task.checkpoint=run", *quick)
    assert "needs a network that classifies" in line


@pytest.mark.parametrize("setting", [{"consensus": True}, {"ensemble": ["run"]}])
def test_what_only_networks_can_do_is_refused_without_one(setting):
    with pytest.raises(UserError, match=f"`task.{next(iter(setting))}` needs `task.checkpoint`"):
        Count("in.pkl", **setting)


def found_rates(folder, *runs):
    """(T,) repetitions per frame that networks find in the first recording, on average."""
    experiment = f3d.load(folder / runs[0]).experiment
    recordings = open_annotations(folder / "counts.pkl").recordings("unlabelled")
    paths = [name if name == "builtin" else str(folder / name) for name in runs]
    return densities(experiment, paths, recordings, 8)[0].values
