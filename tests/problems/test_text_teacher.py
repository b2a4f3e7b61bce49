"""Sentences as a further loss: what each head learns, and that nothing of it is left afterwards."""

import mindspore as ms
import numpy as np
import pytest
from cli import TINY, refused, succeeded
from mindspore import Tensor, ops

from flag3d_exp.engine.optimizer import parameter_groups, sgd
from flag3d_exp.engine.step import MicroBatch, StepSettings, TrainStep
from flag3d_exp.models.c3d_light import C3DLight
from flag3d_exp.models.protogcn import ProtoGCN
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.problems.classify import Classify
from flag3d_exp.problems.text_contrast import TextContrast, contrast, one_hot
from flag3d_exp.problems.text_teacher import taught_parts
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.texts.vectors import sentence_vectors

CLASSES = ["Push-ups", "Chest Fly", "Svend Press", "Squat With Arm Lift"]
TAUGHT = Classify(4, text_weight=0.8, texts="flag3d", classes=CLASSES, layout="nturgb+d")
SMALL = {"layout": "nturgb+d", "base_channels": 8, "num_blocks": 2, "widen_at": [2]}


def clips(num_clips: int) -> np.ndarray:
    """(N, 1, 8, 25, 3)."""
    return np.random.default_rng(0).normal(size=(num_clips, 1, 8, 25, 3)).astype(np.float32)


def test_the_contrast_is_that_of_aligning_where_all_take_part_and_others_change_nothing():
    logits = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    labels = np.array([0, 1, 1, 2, 0, 2], np.int32)
    chosen = one_hot(Tensor(labels), 3)
    whole, _ = TextContrast()(Tensor(logits), Tensor(labels))
    same = contrast(Tensor(logits[None]), chosen, ops.ones((1, 6), ms.float32))
    assert float(same.asnumpy()) == pytest.approx(float(whole.asnumpy()), rel=1e-5)
    take_part = (labels != 2).astype(np.float32)
    of_two = contrast(Tensor(logits[None]), chosen, Tensor(take_part[None]))
    kept = np.flatnonzero(take_part)
    alone, _ = TextContrast()(Tensor(logits[kept]), Tensor(labels[kept]))
    assert float(of_two.asnumpy()) == pytest.approx(float(alone.asnumpy()), rel=1e-4)
    nobody = contrast(Tensor(logits[None]), chosen, ops.zeros((1, 6), ms.float32))
    assert float(nobody.asnumpy()) == 0
    heads = np.stack([np.ones(6, np.float32), take_part, np.zeros(6, np.float32)])
    of_all = contrast(Tensor(np.stack([logits] * 3)), chosen, Tensor(heads))
    told = [float(one.asnumpy()) for one in (whole, of_two, nobody)]
    assert float(of_all.asnumpy()) == pytest.approx(np.mean(told), rel=1e-5)


def test_a_head_for_the_body_and_for_each_part_that_two_classes_have_a_sentence_on():
    vectors, joints = taught_parts(TAUGHT.descriptions, load_layout("nturgb+d"))
    parts = ["arms", "torso", "legs"]  # in this order; the torso of one class alone is left out
    described = [sum(part in dict(one.parts) for one in TAUGHT.descriptions) for part in parts]
    heads = [part for part, count in zip(parts, described, strict=True) if count > 1]
    assert vectors.shape == (1 + len(heads), 4, 384) and joints.shape == (25, len(heads))
    np.testing.assert_array_equal(
        vectors[0], sentence_vectors([one.whole for one in TAUGHT.descriptions])
    )
    assert heads[0] == "arms"
    np.testing.assert_allclose(joints.sum(0), 1)
    names = load_layout("nturgb+d").joints
    assert {names[n].split()[-1] for n in np.flatnonzero(joints[:, 0])} == {
        *("elbow", "wrist", "hand", "thumb")
    }
    legs = vectors[1 + heads.index("legs")]
    unspoken = [number for number, one in enumerate(TAUGHT.descriptions)
                if "legs" not in dict(one.parts)]  # fmt: skip
    assert not legs[unspoken].any()
    assert taught_parts(TAUGHT.descriptions, None)[0].shape == (1, 4, 384)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind", [STGCN, ProtoGCN], ids=lambda kind: kind.__name__)
def test_training_learns_from_sentences_and_evaluation_knows_nothing_of_them(kind, jit):
    ms.set_seed(0)
    settings = SMALL if kind is STGCN else {**SMALL, "num_prototypes": 4, "num_graphs": 2}
    backbone = kind(**settings)
    network = TAUGHT.network(backbone)
    names = {p.name for p in network.trainable_params() if p.name.startswith("head.teacher.")}
    assert names == {f"head.teacher.{name}" for name in ("weight", "bias", "log_scale")}
    targets = {"label": np.array([0, 1, 2, 3, 0, 1], np.int32)}
    criterion = TAUGHT.criterion(targets)
    optimizer = sgd(parameter_groups(network.get_parameters(), None, False), lr=0.02)
    step = TrainStep(network, criterion, optimizer, StepSettings(jit=jit))
    drawn = TAUGHT.chance(network, (6, 1, 8, 25, 3), np.random.default_rng(0))
    batch = MicroBatch(*TAUGHT.batch(clips(6), targets, drawn))
    teacher = network.auxiliary if kind is STGCN else network.auxiliary.teacher
    before = teacher.weight.asnumpy().copy()
    losses = [float(step([batch], 1.0)[0].asnumpy()) for _ in range(12)]
    assert losses[-1] < losses[0]
    assert np.abs(teacher.weight.asnumpy() - before).max() > 0
    network.set_train(False)
    logits = network(Tensor(clips(2))).asnumpy()
    plain = Classify(4).network(backbone).set_train(False)
    plain.head.weight.set_data(network.head.weight)
    plain.head.bias.set_data(network.head.bias)
    np.testing.assert_array_equal(plain(Tensor(clips(2))).asnumpy(), logits)


def test_a_network_over_pixels_is_taught_about_the_whole_body():
    settings = Classify(4, text_weight=1, texts="flag3d", classes=CLASSES, layout="coco")
    backbone = C3DLight("coco", base_channels=4, train_size=16, test_size=16)
    assert settings.network(backbone).auxiliary.num_heads == 1


@pytest.mark.slow
def test_nothing_of_the_sentences_is_in_the_exported_network(tmp_path):
    taught = (*TINY, "task.epochs=1", "tracking=none", "problem.text_weight=0.8")
    line = refused(tmp_path, *taught, "augment.mixup.probability=0.5")
    assert "augment.mixup" in line and "sentences" in line
    succeeded(tmp_path, *taught, "hydra.run.dir=taught")
    succeeded(tmp_path, "task=export", "task.checkpoint=taught", "hydra.run.dir=out")
    content = (tmp_path / "out" / "model.onnx").read_bytes()
    assert b"head.weight" in content and b"teacher" not in content
