import json
import os
import pickle
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from bad_requests import JSON, bad_requests
from cli import TINY, refused, succeeded
from networks import GRAPH, classifier

from flag3d_exp.data.demo.dataset import make_demo
from flag3d_exp.data.inputs import read_inputs
from flag3d_exp.data.request import request_fields
from flag3d_exp.errors import UserError
from flag3d_exp.export.serving import Classifier
from flag3d_exp.files import sha256
from flag3d_exp.models.kernels import native, using
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.skeletons.layout import LAYOUTS, load_layout
from flag3d_exp.tasks.export import write_verified

NTU = load_layout("nturgb+d")
pytestmark = pytest.mark.slow

EXPORT = ("task=export", "task.checkpoint=run", "device=cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A working folder with a tiny run, its ONNX export, and its predictions of `input.pkl`."""
    folder = tmp_path_factory.mktemp("export")
    settings = ["pipeline.num_clips=2", "stream=bone", "task.epochs=1", "hydra.run.dir=run"]
    succeeded(folder, *TINY, *settings)
    data = make_demo("in_domain")
    named = {one["frame_dir"]: one for one in data["annotations"]}
    chosen = [named[name] for name in data["split"]["val"][:3]]
    (folder / "input.pkl").write_bytes(pickle.dumps(chosen))
    succeeded(folder, *EXPORT, "hydra.run.dir=onnx")
    predict = ["task=predict", "task.checkpoint=run", "task.input=input.pkl"]
    succeeded(folder, *predict, "task.top_k=16", "device=cpu", "hydra.run.dir=predicted")
    return folder


@pytest.fixture(scope="module")
def predicted(trained) -> dict[str, np.ndarray]:
    """Probabilities (16,) by name, as `task=predict` gives them."""
    return by_name(json.loads((trained / "predicted" / "predicted.json").read_text()))


def by_name(rows: list[dict]) -> dict[str, np.ndarray]:
    found = {row["name"]: np.zeros(16) for row in rows}
    for row in rows:
        for one in row["classes"]:
            found[row["name"]][one["label"]] = one["probability"]
    return found


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, scores in expected.items():
        np.testing.assert_allclose(found[name], scores, atol=2e-6)


def test_the_file_says_what_it_is(trained):
    metrics = json.loads((trained / "onnx" / "metrics.json").read_text())
    assert metrics["export/difference"] < 1e-4
    (entry,) = onnx.load(trained / "onnx" / "model.onnx").metadata_props
    facts = json.loads(entry.value)
    assert facts["network"] == "STGCN"
    assert len(facts["classes"]) == 16
    assert facts["layout"]["name"] == "nturgb+d"
    assert len(facts["layout"]["joints"]) == 25
    assert facts["clip_shape"] == [1, 8, 25, 3]
    assert (facts["clip_len"], facts["num_clips"]) == (8, 2)
    assert facts["stream"]["name"] == "bone"
    assert facts["checkpoint"] == sha256(trained / "run" / "checkpoints" / "best.npz")
    assert facts["version.flag3d-exp"]


@pytest.fixture(scope="module")
def served(trained) -> Iterator[tuple[str, psutil.Process]]:
    """The address of the model that MLflow serves on loopback, and the server's process."""
    folder, model = trained, "models:/stgcn_small-demo_in_domain-bone/1"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    arguments = ["models", "serve", "--model-uri", model, "--env-manager", "local"]
    arguments += ["--host", "127.0.0.1", "--port", str(port)]
    with (folder / "served.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *arguments],
            **{"cwd": folder, "env": environment, "stdout": log, "stderr": log},
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert server.poll() is None, (folder / "served.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address, psutil.Process(server.pid)
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def answer(address: str, content: bytes, kind: str = JSON) -> tuple[int, dict]:
    """Status and content of what the server says to a request."""
    request = urllib.request.Request(f"{address}/invocations", content, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def megabytes(server: psutil.Process) -> float:
    """Memory of MLflow's server and of what it started."""
    return sum(p.memory_info().rss for p in (server, *server.children(recursive=True))) / 1e6


def test_the_served_model_answers_plain_keypoints_as_predict_does(trained, served, predicted):
    address, _ = served
    recordings = [request_fields(one) for one in read_inputs(trained / "input.pkl", NTU)]
    for form in ("inputs", "dataframe_records"):
        status, content = answer(address, json.dumps({form: recordings}).encode())
        assert status == 200
        assert_same(by_name(content["predictions"]), predicted)
    status, content = answer(address, (trained / "onnx" / "request.json").read_bytes())
    first = next(iter(predicted))
    assert_same(by_name(content["predictions"]), {first: predicted[first]})


def test_bad_requests_leave_the_server_as_it_was(trained, served):
    """A quarter of those that `tests/export/test_scoring_server.py` asks without a server."""
    address, server = served
    request = (trained / "onnx" / "request.json").read_bytes()
    (good,) = json.loads(request)["inputs"]
    expected = answer(address, request)
    assert expected[0] == 200
    before = megabytes(server)
    for bad in list(bad_requests(good))[::4]:
        status, content = answer(address, bad.content, bad.kind)
        assert (status, bad.said in content["message"]) == (bad.status, True), bad.title
        assert answer(address, request) == expected, bad.title
    assert megabytes(server) < before + 150  # MLflow's own handler took 1600 more


@pytest.mark.parametrize("device", ["null", "cpu"])
def test_mindir_gives_the_same_probabilities(device, trained, predicted):
    settings = ["task.format=mindir", f"task.optimised_for={device}", "tracking=none"]
    assert "model.mindir" in succeeded(trained, *EXPORT, *settings, f"hydra.run.dir=for_{device}")
    recordings = read_inputs(trained / "input.pkl", NTU)
    scores = Classifier(trained / f"for_{device}" / "model.mindir").scores(recordings)
    assert_same(dict(zip(predicted, scores, strict=True)), predicted)


def test_without_its_data_and_with_a_layout_of_its_own_a_run_is_exported(trained, predicted):
    """Data and layout file are gone when the exported file is used."""
    (trained / "mine.yaml").write_text((LAYOUTS / "nturgb+d.yaml").read_text())
    arguments = [*EXPORT, "tracking=none", "hydra.run.dir=mine", "dataset.layout=mine.yaml"]
    succeeded(trained, *arguments, "dataset.path=gone.pkl")
    assert "made-up recordings" in (trained / "mine" / "run.log").read_text()
    (trained / "mine.yaml").unlink()
    scores = Classifier(trained / "mine" / "model.onnx").scores(
        read_inputs(trained / "input.pkl", NTU)
    )
    assert_same(dict(zip(predicted, scores, strict=True)), predicted)


def test_nothing_is_written_when_the_logits_differ(tmp_path):
    with using(native):
        model = classifier(STGCN, 5, "coco", **GRAPH[STGCN])
    clips = np.ones((2, 1, 4, 17, 3), np.float32)
    for suffix in ("onnx", "mindir"):
        with pytest.raises(UserError, match=f"`task.format={suffix}`: .* nothing is written"):
            write_verified(tmp_path / f"model.{suffix}", model, {}, clips, np.ones((2, 5)))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused_in_one_line(trained):
    line = refused(trained, "task=export", "task.checkpoint=nowhere", "hydra.run.dir=refused")
    assert "nowhere" in line
    line = refused(trained, *EXPORT, "task.weights=ema", "hydra.run.dir=refused")
    assert "moving average" in line
    line = refused(trained, *EXPORT, "task.optimised_for=cpu", "hydra.run.dir=refused")
    assert "`task.optimised_for=cpu`" in line and "`task.format=mindir`" in line
    (trained / "blocked" / "onnx").mkdir(parents=True)
    (trained / "blocked" / "onnx" / "__init__.py").write_text("raise ImportError")
    environment = os.environ | {"PYTHONPATH": f"blocked:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-m", "flag3d_exp", *EXPORT, "hydra.run.dir=refused"],
        **{"cwd": trained, "env": environment, "capture_output": True, "text": True},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        'error: ONNX files need the package onnx: `pip install "flag3d-exp[export]"`.'
    ]
