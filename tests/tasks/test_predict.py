import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from cli import TINY, refused, succeeded

from flag3d_exp.data.demo.dataset import demo_path, make_demo
from flag3d_exp.errors import UserError
from flag3d_exp.results.predictions import load_predictions
from flag3d_exp.results.published import CLASSES
from flag3d_exp.tasks.predict import Predict

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A working folder with a tiny run in `run`, and its data without labels in `input`."""
    folder = tmp_path_factory.mktemp("predict")
    succeeded(folder, *TINY, "task.epochs=1", "tracking=none", "hydra.run.dir=run")
    data = make_demo("in_domain")
    named = {one["frame_dir"]: one for one in data["annotations"]}
    chosen = [dict(named[name]) for name in data["split"]["val"][:5]]
    for one in chosen:
        del one["label"]
    (folder / "input").mkdir()
    (folder / "input" / "A.pkl").write_bytes(pickle.dumps(chosen[:3]))
    named = {"keypoints": chosen[3]["keypoint"].tolist()}
    (folder / "input" / f"{chosen[3]['frame_dir']}.json").write_text(json.dumps(named))
    with open(folder / "input" / "Z.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["recording", "frame", "joint", "x", "y", "z"])
        for (frame, joint), place in as_rows(chosen[4]["keypoint"][0]):
            writer.writerow([chosen[4]["frame_dir"], frame, joint, *place])
    return folder


def as_rows(keypoints: np.ndarray):
    """((frame, joint), coordinates) of every joint of one person, (T, V, C)."""
    for place in np.ndindex(keypoints.shape[:2]):
        yield place, keypoints[place].tolist()


def test_predictions_without_labels_are_those_of_the_evaluation(trained):
    arguments = ["task=predict", "task.checkpoint=run", "task.input=input", "task.top_k=16"]
    succeeded(trained, *arguments, "device=cpu", "hydra.run.dir=predicted")
    rows = json.loads((trained / "predicted" / "predicted.json").read_text())
    with open(trained / "predicted" / "predicted.csv", newline="") as file:
        columns, first, *_ = csv.reader(file)
    assert columns == ["name", "rank", "label", "class", "probability"]
    likeliest = rows[0]["classes"][0]
    assert first[:4] == [rows[0]["name"], "1", str(likeliest["label"]), likeliest["class"]]
    evaluated = load_predictions(trained / "run" / "predictions" / "val.npz")
    assert [row["name"] for row in rows] == list(evaluated.names[:5])
    for row, scores in zip(rows, evaluated.scores, strict=False):
        found = np.zeros(16)
        for one in row["classes"]:
            found[one["label"]] = one["probability"]
        np.testing.assert_allclose(found, scores, atol=2e-6)


def test_poses_of_other_joints_are_mapped_to_the_network_s(trained):
    places = np.random.default_rng(0).uniform(-900, 900, (4, 32, 3)).tolist()
    bodies = [[{"body_id": 1, "joint_positions": place}] for place in places]
    frames = [{"frame_id": number, "bodies": body} for number, body in enumerate(bodies)]
    (trained / "azure.json").write_text(json.dumps({"joint_names": [], "frames": frames}))
    arguments = ["task=predict", "task.checkpoint=run", "task.input=azure.json", "device=cpu"]
    printed = succeeded(trained, *arguments, "hydra.run.dir=other_joints")
    assert "read as azure_kinect, joints of azure" in printed
    assert "joints of azure are mapped to those of nturgb+d" in printed
    (row,) = json.loads((trained / "other_joints" / "predicted.json").read_text())
    assert row["name"] == "azure" and len(row["classes"]) == 5


def test_the_network_in_the_package_answers_without_training(tmp_path):
    data = make_demo("out_domain")
    named = {one["frame_dir"]: one for one in data["annotations"]}
    chosen = [named[name] for name in data["split"]["train"][:2]]
    (tmp_path / "filmed.pkl").write_bytes(pickle.dumps(chosen))
    arguments = ["task=predict", "task.checkpoint=builtin", "task.input=filmed.pkl", "device=cpu"]
    quick = ["device.jit=false", "tracking=none", "task.confidence=1", "hydra.run.dir=answers"]
    printed = succeeded(tmp_path, *arguments, *quick)
    rows = json.loads((tmp_path / "answers" / "predicted.json").read_text())
    assert [row["name"] for row in rows] == [one["frame_dir"] for one in chosen]
    for row in rows:
        first = row["classes"][0]
        assert first["class"] in CLASSES and row["class"] == "unknown"
        assert f"{row['name']}: unknown (most likely {first['class']} " in printed


def test_bad_inputs_are_refused_in_one_line(trained):
    arguments = ["task=predict", "task.checkpoint=run", "tracking=none", "hydra.run.dir=refused"]
    assert "nowhere is not there" in refused(trained, *arguments, "task.input=nowhere")
    line = refused(trained, *arguments, f"task.input={demo_path('out_domain')}")
    assert "17 joints" in line


def test_the_explanation_of_a_recording_is_drawn_and_told(trained):
    name = load_predictions(trained / "run" / "predictions" / "val.npz").names[0]
    arguments = ["task=explain", "task.checkpoint=run", "task.num_steps=8", "device=cpu"]
    printed = succeeded(trained, *arguments, f"task.recording={name}", "hydra.run.dir=explained")
    assert "explain.png" in printed
    assert (trained / "explained" / "explain.png").stat().st_size > 10_000
    told = json.loads((trained / "explained" / "explain.json").read_text())
    assert told["recording"] == name
    assert len(told["joints"]) == 25
    assert len(told["frames"]) == 8
    assert sum(told["frames"]) == pytest.approx(sum(told["joints"].values()))
    line = refused(trained, *arguments, f"task.recording={name[:-1]}9", "hydra.run.dir=refused")
    assert "has no recording" in line and "Did you mean" in line


def test_a_long_recording_of_two_persons_becomes_a_timeline(trained):
    chosen = make_demo("in_domain")["annotations"][:4]
    joined = np.concatenate([one["keypoint"] for one in chosen], axis=1)  # (1, T, 25, 3)
    joined = np.concatenate([joined, joined[:, ::-1] + 0.5])
    joined[1, :50] = 0  # the second person comes later
    np.savez(trained / "long.npz", keypoints=joined)
    num_frames = joined.shape[1]
    arguments = ["task=predict", "task.checkpoint=run", "task.input=long.npz", "device=cpu"]
    arguments += ["task.window=40", "task.hop=10", "task.confidence=0", "task.min_length=20"]
    arguments += ["task.count=true", "task.more_windows=[24,60]"]
    printed = succeeded(trained, *arguments, "hydra.run.dir=timeline")
    folder = trained / "timeline"
    assert "timeline.html, with timeline.csv" in printed
    rows = json.loads((folder / "timeline.json").read_text())
    assert [(row["name"], row["person"]) for row in rows] == [("long", 0), ("long", 1)]
    for row, first in zip(rows, (0, 50), strict=True):
        segments = row["segments"]
        assert row["num_frames"] == num_frames
        assert (segments[0]["first"], segments[-1]["last"]) == (first, num_frames - 1)
        for one, following in zip(segments, segments[1:], strict=False):
            assert following["first"] == one["last"] + 1
            assert following["class"] != one["class"]
            assert one["last"] - one["first"] + 1 >= 20
    with open(folder / "timeline.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(int(line["person"]), int(line["first"]), line["class"]) for line in lines] == [
        (row["person"], one["first"], one["class"]) for row in rows for one in row["segments"]
    ]
    with open(folder / "timeline_scores.csv", newline="") as file:
        scores = list(csv.DictReader(file))
    cells = -(-num_frames // 10)
    assert len(scores) == cells + cells - 5
    total = sum(float(value) for key, value in scores[3].items() if key not in lines[0])
    assert "repetitions" in printed and lines[0]["count"].isdecimal()
    assert total == pytest.approx(1, abs=0.01)
    page = (folder / "timeline.html").read_text()
    assert (
        "<script>" in page and "http:" not in page and "https:" not in page and '"person":1' in page
    )
    assert (folder / "timeline.png").stat().st_size > 5_000


def test_a_timeline_is_evaluated_against_segments(trained):
    """The timeline that a prediction wrote, as the truth: all of it is right."""
    (clip,) = make_demo("in_domain")["annotations"][:1]
    np.savez(trained / "short.npz", keypoints=clip["keypoint"])
    arguments = ["task.checkpoint=run", "task.input=short.npz", "device=cpu", "tracking=none"]
    arguments += ["task.window=40", "task.confidence=0"]
    succeeded(trained, "task=predict", *arguments, "hydra.run.dir=as_truth")
    (row,) = json.loads((trained / "as_truth" / "timeline.json").read_text())
    (segment,) = row["segments"]
    arguments.append("task=evaluate")
    succeeded(trained, *arguments, "task.truth=as_truth/timeline.csv", "hydra.run.dir=judged")
    metrics = json.loads((trained / "judged" / "metrics.json").read_text())
    assert metrics["timeline/frame_accuracy"] == metrics["timeline/f1_50"] == 100
    half = segment["last"] // 2
    (trained / "half.csv").write_text(f"name,first,last,class\nshort,0,{half},{segment['label']}\n")
    succeeded(trained, *arguments, "task.truth=half.csv", "hydra.run.dir=half_judged")
    metrics = json.loads((trained / "half_judged" / "metrics.json").read_text())
    share = 100 * (half + 1) / row["num_frames"]
    assert metrics["timeline/frame_accuracy"] == pytest.approx(share)
    assert metrics["timeline/edit"] == 100
    (trained / "bad.csv").write_text("name,first,last,class\nshrt,0,1,0\n")
    line = refused(trained, *arguments, "task.truth=bad.csv", "hydra.run.dir=refused_truth")
    assert "person 0 of 'shrt', who is not in `task.input`. Did you mean `short`" in line


def test_windows_that_leave_frames_out_are_refused(trained):
    arguments = ["task=predict", "task.checkpoint=run", "task.input=input", "tracking=none"]
    arguments += ["task.window=10", "task.hop=20", "hydra.run.dir=refused_hop"]
    line = refused(trained, *arguments)
    assert "`task.hop` must be at most `task.window`" in line
    with pytest.raises(
        UserError, match=r"`task.hop` must be at most `task.more_windows`.*20 and 15"
    ):
        Predict("run", "input", window=40, hop=20, more_windows=[15, 60])
    with pytest.raises(UserError, match="set `task.window`, too"):
        Predict("run", "input", more_windows=[15, 60])


def test_frames_that_stream_in_get_the_scores_of_their_windows(trained):
    (clip,) = make_demo("in_domain")["annotations"][:1]
    keypoints = clip["keypoint"][0, :50].astype(np.float64)
    lines = [json.dumps({"frame": number, "persons": [{"id": 3, "keypoints": joints.tolist()}]})
             for number, joints in enumerate(keypoints)]  # fmt: skip
    lines[7] = '{"frame": 7}'
    lines.insert(20, "nonsense")
    (trained / "frames.jsonl").write_text("\n".join(lines))
    arguments = ["task=stream", "task.checkpoint=run", "task.input=frames.jsonl", "tracking=none"]
    arguments += ["task.window=40", "task.hop=20", "task.top_k=16", "device=cpu"]
    printed = succeeded(trained, *arguments, "hydra.run.dir=streamed")
    answers = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    faults = [one["error"] for one in answers if "error" in one]
    assert ["line 8: a frame must" in faults[0], "line 21: it is not JSON" in faults[1]] == [
        True
    ] * 2
    windows = [one for one in answers if "frame" in one]
    assert [(one["first"], one["frame"]) for one in windows] == [(0, 19), (0, 39), (10, 49)]
    keypoints[7] = 0
    np.savez(trained / "streamed.npz", keypoints=keypoints[10:])
    arguments = ["task=predict", "task.checkpoint=run", "task.input=streamed.npz", "device=cpu"]
    succeeded(trained, *arguments, "task.top_k=16", "hydra.run.dir=as_a_whole")
    (row,) = json.loads((trained / "as_a_whole" / "predicted.json").read_text())
    expected = {one["label"]: one["probability"] for one in row["classes"]}
    (person,) = windows[-1]["persons"]
    assert person["id"] == 3
    for one in person["classes"]:
        assert one["probability"] == pytest.approx(expected[one["label"]], abs=1e-5)
