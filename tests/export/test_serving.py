"""Classifying plain keypoints with an exported network, small enough to be worked out by hand."""

import subprocess
import sys

import numpy as np
import pytest
from exported_files import GRAPH, exported
from mlflow.exceptions import MlflowException
from pandas import DataFrame

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.pipeline import HeatmapPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.export.serving import Classifier
from flag3d_exp.results.metrics import softmax


def test_scores_are_the_softmax_averaged_over_clips(tmp_path):
    """Five frames at x = 0, 1, 2, 3, 4; each of two clips of five frames holds all of them."""
    pipeline = {"clip_len": 5, "num_clips": 2}
    classifier = Classifier(exported(tmp_path / "model.onnx", pipeline))
    keypoints = np.zeros((1, 5, 2, 3), np.float32)
    keypoints[..., 0] = np.arange(5).reshape(1, 5, 1)
    scores = classifier.scores([Recording("a", 0, keypoints)])
    np.testing.assert_allclose(scores, softmax(np.array([[2.0, 0, 0]])), rtol=1e-6)


def test_answers_name_every_class_likeliest_first(tmp_path):
    classifier = Classifier(exported(tmp_path / "model.onnx", GRAPH))
    keypoints = np.tile(np.float32([0, np.log(2), 0]), (1, 2, 2, 1)).tolist()
    request = DataFrame([{"name": "a", "keypoints": keypoints}, {"keypoints": keypoints}])
    first, second = classifier.predict(request)
    assert (first["name"], second["name"]) == ("a", "1")
    assert first["classes"] == [
        {"label": 1, "class": "y", "probability": 0.5},
        {"label": 0, "class": "x", "probability": 0.25},
        {"label": 2, "class": "z", "probability": 0.25},
    ]


def test_answers_are_softened_by_the_temperature_of_the_file(tmp_path):
    classifier = Classifier(exported(tmp_path / "model.onnx", GRAPH, temperature=2.0))
    keypoints = np.tile(np.float32([0, 2 * np.log(2), 0]), (1, 2, 2, 1)).tolist()
    (answer,) = classifier.predict(DataFrame([{"name": "a", "keypoints": keypoints}]))
    assert [one["probability"] for one in answer["classes"]] == [0.5, 0.25, 0.25]


def test_a_recording_with_a_window_gets_the_segments_of_each_person(tmp_path):
    """Twelve frames: the first half is of class x, the second of class z; two persons in turn."""
    classifier = Classifier(exported(tmp_path / "model.onnx", GRAPH))
    halves = np.repeat([[5.0, 0, 0], [0, 0, 5.0]], 6, axis=0)  # (12, 3)
    keypoints = np.tile(halves[None, :, None], (2, 1, 2, 1))
    keypoints[1, :6] = 0
    whole = {"name": "a", "keypoints": keypoints[:1, :2].tolist()}
    long = {"name": "b", "keypoints": keypoints.tolist(), "window": 4, "hop": 2, "min_length": 2}
    first, second, third = classifier.answer([whole, long, long | {"count": True}])
    assert first["classes"][0]["class"] == "x"
    assert [person["person"] for person in second["persons"]] == [0, 1]
    spans = [
        [(one["class"], one["first"], one["last"]) for one in person["segments"]]
        for person in second["persons"]
    ]
    assert spans == [[("x", 0, 5), ("z", 6, 11)], [("z", 6, 11)]]
    assert "repetitions" not in second["persons"][0]
    assert third["persons"][0]["repetitions"] == []
    with pytest.raises(UserError, match="may ask for 2000 windows; this one has"):
        many = {"keypoints": np.ones((1, 3000, 2, 3)).tolist(), "window": 4, "hop": 1}
        classifier.answer([many])


def test_what_cannot_be_classified_is_the_requests_fault(tmp_path):
    classifier = Classifier(exported(tmp_path / "model.onnx", GRAPH))
    wrong = DataFrame([{"name": "a", "keypoints": np.zeros((1, 2, 4, 3)).tolist()}])
    for request, said in (
        (wrong, "4 joints, but layout mine has 2"),
        (DataFrame(), "no recording"),
    ):
        with pytest.raises(MlflowException, match=said) as caught:
            classifier.predict(request)
        assert caught.value.get_http_status_code() == 400


def test_heatmap_networks_get_scores_and_pixels_of_their_crop(tmp_path):
    settings = {"clip_len": 2, "test_size": 32}
    facts = {
        "layout": {"name": "coco", "file": None},
        "pipeline": {"class": "HeatmapPipeline", "settings": settings},
        "clip_shape": [1, 2, 17, 3],
    }
    path = exported(tmp_path / "model.onnx", settings, 2, **facts)
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 100, (1, 2, 17, 2)).astype(np.float32)
    recording = Recording("a", 0, keypoints, rng.random((1, 2, 17), np.float32), (480, 640))
    clips = HeatmapPipeline("coco", **settings).test_clips(recording, Stream("joint"))
    expected = softmax(clips.mean((1, 2, 3)))
    np.testing.assert_allclose(Classifier(path).scores([recording]), expected, rtol=1e-5)
    with pytest.raises(UserError, match="image_shape"):
        Classifier(path).scores([Recording("a", 0, keypoints)])


def test_recordings_without_the_scores_that_a_network_was_trained_with_are_refused(tmp_path):
    settings = {"clip_len": 2, "score_channel": True}
    facts = {"layout": {"name": "coco", "file": None}, "clip_shape": [1, 2, 17, 3]}
    recording = Recording("a", 0, np.ones((1, 2, 17, 2), np.float32))
    for scored in (False, True):
        path = exported(tmp_path / f"{scored}.onnx", settings, 2, scored=scored, **facts)
        if not scored:  # trained on recordings that had none either: 1 was taken
            assert Classifier(path).scores([recording]).shape == (1, 3)
            continue
        with pytest.raises(
            UserError, match="'a': it has no `scores`, which the network is trained"
        ):
            Classifier(path).scores([recording])


def test_an_onnx_file_is_served_without_mindspore(tmp_path):
    path = exported(tmp_path / "model.onnx", GRAPH)
    program = (
        "import sys; from flag3d_exp.export.serving import _load_pyfunc; "
        f"_load_pyfunc({str(path)!r}); "
        "print([name for name in ('mindspore', 'hydra', 'mlflow', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
