"""Classes by sentences: the head, the loss, the metrics, and a run from training to prediction."""

import json
import pickle
import re

import mindspore as ms
import numpy as np
import onnxruntime
import pytest
import yaml
from cli import TINY, succeeded
from mindspore import Tensor
from omegaconf import OmegaConf

import flag3d_exp as f3d
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.written_classes import ALIGN, with_classes
from flag3d_exp.data.augment.mixup import Mixup
from flag3d_exp.data.augment.recipe import recipe
from flag3d_exp.data.demo.dataset import make_demo
from flag3d_exp.devices.device import Device
from flag3d_exp.errors import UserError
from flag3d_exp.export import mindir
from flag3d_exp.export.onnx_file import onnx_model
from flag3d_exp.export.serving import Classifier
from flag3d_exp.models.kernels import native, using
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.models.text_head import TextHead
from flag3d_exp.problems.align import Align
from flag3d_exp.problems.problem import check_provenance, provenance
from flag3d_exp.problems.text_contrast import TextContrast
from flag3d_exp.results.predictions import load_predictions
from flag3d_exp.results.zero_shot import GATES
from flag3d_exp.tasks.calibrate import doubts_of_gate
from flag3d_exp.tasks.train import check_augment, check_splits
from flag3d_exp.texts.descriptions import SENTENCES

CLASSES = ["Push-ups", "Sit-ups", "High Knee", "Sumo Squat"]
PROBLEM = Align(CLASSES, unseen=["High Knee", "Sumo Squat"])


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def test_logits_are_scaled_cosines_with_the_texts():
    head = TextHead(6, PROBLEM.vectors, 20.0, np.ones(4, bool))
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 1, 6, 3, 5)).astype(np.float32)
    weight = rng.normal(size=(384, 6)).astype(np.float32)
    ms.ops.assign(head.weight, Tensor(weight))
    made = head(Tensor(features)).asnumpy()
    projected = features.mean((1, 3, 4)) @ weight.T
    cosines = projected @ PROBLEM.vectors.T / np.linalg.norm(projected, axis=1, keepdims=True)
    np.testing.assert_allclose(made, 20 * cosines, rtol=1e-4, atol=1e-4)
    ms.ops.assign(head.log_scale, Tensor([10.0], ms.float32))  # exp(10) is above the bound
    bounded = head(Tensor(features)).asnumpy()
    np.testing.assert_allclose(bounded, 100 * cosines, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_anchors", [None, 2])
def test_classes_that_were_not_trained_are_compared_with_a_mean_of_the_trained(num_anchors):
    vectors, trained = PROBLEM.vectors, PROBLEM.trained & (num_anchors is None)
    head = TextHead(6, vectors, 20.0, trained, num_anchors, softness=2.0, gate=3.0)
    rng = np.random.default_rng(0)
    anchors = vectors[:2]
    for parameter, value in ((head.weight, rng.normal(size=(384, 6))), (head.anchors, anchors)):
        ms.ops.assign(parameter, Tensor(value.astype(np.float32)))
    features = rng.normal(size=(3, 1, 6, 3, 5)).astype(np.float32)
    projected = features.mean((1, 3, 4)) @ head.weight.asnumpy().T
    direct = 20 * unit(projected) @ vectors.T
    np.testing.assert_allclose(head.set_train(True)(Tensor(features)).asnumpy(), direct, atol=1e-4)

    shares = np.exp(direct[:, :2] / 2)
    shares /= shares.sum(1, keepdims=True)
    common = anchors.mean(0)
    combined = unit(shares @ unit(anchors - common))
    others = 20 * combined @ unit(vectors - common).T + 3
    expected = np.where(trained, direct, others)
    made = head.set_train(False)(Tensor(features)).asnumpy()
    np.testing.assert_allclose(made, expected, atol=1e-3)


def test_the_loss_is_that_of_clips_and_texts_in_both_directions():
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    labels = np.array([1, 0, 1])
    loss, (num_correct,) = TextContrast()(Tensor(logits), Tensor(labels, ms.int32))
    pairs = logits[:, labels]
    target = np.array([[0.5, 0, 0.5], [0, 1, 0], [0.5, 0, 0.5]])
    entropy = 2 * np.log(0.5) / 3  # the mean of target * log(target) over the rows
    expected = [entropy - (target * log_softmax(x)).sum(1).mean() for x in (pairs, pairs.T)]
    assert float(loss.asnumpy()) == pytest.approx(np.mean(expected), rel=1e-5)
    assert int(num_correct.asnumpy()) == (logits.argmax(1) == labels).sum()


def test_texts_of_classes_outside_the_batch_take_no_part():
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    labels = Tensor([1, 0, 1], ms.int32)
    changed = logits.copy()
    changed[:, 2:] += 7
    losses = [float(TextContrast()(Tensor(x), labels)[0].asnumpy()) for x in (logits, changed)]
    assert losses[0] == losses[1]


def test_a_checkpoint_keeps_the_vectors_of_trained_classes_so_that_others_fit_its_head():
    def network(problem):
        return problem.network(STGCN("nturgb+d", base_channels=4, num_blocks=1))

    head = {p.name for p in network(PROBLEM).get_parameters() if p.name.startswith("head.")}
    assert head == {"head.weight", "head.bias", "head.log_scale", "head.anchors"}
    shapes = [
        {p.name: p.shape for p in network(problem).get_parameters()}
        for problem in (PROBLEM, Align(["Fortune Cat", "Chest Fly", "Push-ups"], num_anchors=2))
    ]
    assert shapes[0] == shapes[1]


def test_unseen_recordings_are_judged_among_all_and_among_unseen_classes():
    scores = np.array([[0.6, 0.1, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    found = PROBLEM.metrics(scores, {"label": np.array([2, 3])})
    assert found["top1"] == 50 and found["top1_zero_shot"] == 100 and found["top1_chance"] == 50
    assert "top1_zero_shot" not in PROBLEM.metrics(scores, {"label": np.array([0, 1])})


@pytest.mark.parametrize("unseen", [PROBLEM.unseen, None])
def test_exported_logits_are_its_own(unseen):
    with using(native):
        backbone = STGCN("nturgb+d", base_channels=4, num_blocks=2)
        network = Align(CLASSES, unseen).network(backbone).set_train(False)
    clips = np.random.default_rng(0).normal(size=(3, 1, 8, 25, 3)).astype(np.float32)
    graph = mindir.graph_of(mindir.compiled_network(network, clips.shape[1:]))
    session = onnxruntime.InferenceSession(
        onnx_model(graph, clips.shape[1:], len(CLASSES)).SerializeToString()
    )
    (made,) = session.run(None, {session.get_inputs()[0].name: clips})
    np.testing.assert_allclose(made, network(Tensor(clips)).asnumpy(), atol=1e-4)


def test_texts_that_are_not_those_of_the_training_are_noticed():
    meta = provenance(PROBLEM)
    assert check_provenance(PROBLEM, meta) is None and check_provenance(PROBLEM, {}) is None
    assert "not those of the training" in str(check_provenance(Align(CLASSES[:2]), meta))
    other = {"texts": meta["texts"] | {"encoder": "other 0"}}
    with pytest.raises(UserError, match="trained with vectors of 'other 0'; those of this program"):
        check_provenance(PROBLEM, other)


def test_training_brings_clips_near_to_the_texts_of_their_classes():
    ms.set_seed(0)
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 4
    poses = rng.normal(size=(4, 1, 1, 25, 3))[labels]
    keypoints = (poses + 0.1 * rng.normal(size=(24, 1, 8, 25, 3))).astype(np.float32)
    train, val = (
        f3d.clips(
            keypoints[part], labels[part], layout="nturgb+d", training=part.stop == 16, clip_len=8
        )
        for part in (slice(0, 16), slice(16, 24))
    )
    backbone = STGCN("nturgb+d", base_channels=8, num_blocks=1)
    trained = f3d.train(
        *(backbone, train, {"val": val}),
        epochs=2,
        repeat=20,
        batch_size=8,
        lr=0.03,
        problem=Align(CLASSES),
        device=Device("cpu", jit=False),
    )
    assert trained.metrics["val/top1"] == 100


def test_a_gate_at_the_end_of_its_range_is_doubted():
    assert not doubts_of_gate(-15.0, "val_unseen")
    (doubt,) = doubts_of_gate(float(GATES[-1]), "val_unseen")
    assert "at an end of the tried range, -100 to 100" in doubt


@pytest.mark.slow
def test_a_run_is_trained_evaluated_and_chooses_among_classes_written_down(tmp_path):
    quick = ("tracking=none", "device=cpu", "device.jit=false")
    run = (*TINY, "task.epochs=1", "tracking=none", "problem=align", "hydra.run.dir=run")
    said = succeeded(tmp_path, *run, "dataset.unseen=[Sit-ups,High Knee]")
    assert "val_unseen 36" in said and "top1_zero_shot" in said and "top1_harmonic" in said
    again = succeeded(tmp_path, *quick, "task=evaluate", "task.checkpoint=run")
    assert "top1_chance 50.00 %" in again
    saved = load_predictions(tmp_path / "run" / "predictions" / "val_unseen.npz")
    assert saved.scores.shape[1] == 16 and set(saved.labels.tolist()) <= {10, 15}

    said = succeeded(tmp_path, *quick, "task=calibrate", "task.checkpoint=run")
    gate = re.search(r"Gate (\S+), fitted on val_unseen: .* classes (\S+) %\.", said)
    assert gate is not None and f"`problem.gate={gate[1]}`" in said
    gated = (*quick, "task=evaluate", "task.checkpoint=run", f"problem.gate={gate[1]}")
    assert f"top1_harmonic {gate[2]} %" in succeeded(tmp_path, *gated)

    data = make_demo("in_domain")
    named = {one["frame_dir"]: one for one in data["annotations"]}
    chosen = [named[name] for name in data["split"]["val"][:2]]
    (tmp_path / "in.pkl").write_bytes(pickle.dumps(chosen))
    known = yaml.safe_load((SENTENCES / "flag3d.yaml").read_text())
    mine = {"roll back": known["Half Roll Back"], "lucky cat": known["Fortune Cat"]["whole"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    predict = (*quick, "task=predict", "task.checkpoint=run", "task.input=in.pkl")
    said = succeeded(tmp_path, *predict, "task.classes=mine.yaml", "hydra.run.dir=predicted")
    assert "not those of the training" not in said
    rows = json.loads((tmp_path / "predicted" / "predicted.json").read_text())
    for row in rows:
        assert {one["class"] for one in row["classes"]} == set(mine)
        assert sum(one["probability"] for one in row["classes"]) == pytest.approx(1, abs=1e-5)

    export = (*quick[1:], "task=export", "task.checkpoint=run", "task.classes=mine.yaml")
    succeeded(tmp_path, *export, "hydra.run.dir=exported")
    served = Classifier(tmp_path / "exported" / "model.onnx")
    answers = served.answer(
        [{"name": one["frame_dir"], "keypoints": one["keypoint"].tolist()} for one in chosen]
    )
    for answer, row in zip(answers, rows, strict=True):
        found, expected = (
            {o["class"]: o["probability"] for o in r["classes"]} for r in (answer, row)
        )
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("objective", "averaged"), [("top1", False), ("loss", True)])
def test_no_epoch_is_chosen_by_unseen_classes(objective, averaged):
    splits = dict.fromkeys(("train", "val", "val_unseen"))
    suffix = "_ema" if averaged else ""
    check_splits(splits, f"val{suffix}/{objective}", PROBLEM, averaged)
    with pytest.raises(UserError, match="by recordings of unseen classes; use a metric of `val`"):
        check_splits(splits, f"val_unseen{suffix}/{objective}", PROBLEM, averaged)


def test_clips_of_two_classes_are_refused():
    with pytest.raises(UserError, match="`augment.mixup` mixes class labels"):
        check_augment(recipe([Mixup(0.5)]), PROBLEM)


def test_classes_without_names_or_sentences_and_a_scale_out_of_range_are_refused():
    with pytest.raises(UserError, match="`dataset.classes` is null"):
        _ = Align(None).vectors
    with pytest.raises(UserError, match="`problem.texts` file .*uiprmd.yaml is for other classes"):
        _ = Align(CLASSES, texts="uiprmd").vectors
    with pytest.raises(UserError, match="`problem.scale` must be from 1 to 100"):
        Align(CLASSES, scale=0.5)


def test_classes_to_choose_among_need_texts_and_are_two_at_least(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump({"wave": "Wave."}))
    aligned, classify = (
        Experiment(OmegaConf.create({"problem": {"_target_": target}}), tmp_path, {})
        for target in (ALIGN, "flag3d_exp.problems.classify.Classify")
    )
    with pytest.raises(UserError, match="needs a network that was trained with texts"):
        with_classes(classify, str(path))
    with pytest.raises(UserError, match="at least 2 classes to choose among"):
        with_classes(aligned, str(path))
    with pytest.raises(UserError, match="`task.classes` must be auto, flag3d"):
        with_classes(aligned, "absent.yaml")
