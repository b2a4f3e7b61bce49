"""ProtoGCN's prototypes and contrastive loss, which no prediction depends on."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from models.oracle import Oracle
from networks import classifier

from flag3d_exp.engine.parameters import assign_parameters
from flag3d_exp.models.protogcn import ContrastiveLoss, ProtoGCN
from flag3d_exp.problems.classify import Classify

SETTINGS = {
    "protogcn": ("nturgb+d", {}),
    "protogcn_coco": ("coco_20", {"num_prototypes": 100, "contrastive_weight": 0.3}),
}


@pytest.fixture(params=SETTINGS)
def oracle(request, shared):
    return Oracle(shared / "parity", request.param)


@pytest.fixture
def model(oracle):
    layout, settings = SETTINGS[oracle.name]
    made = classifier(ProtoGCN, 60, layout, **settings)
    oracle.initialise(made)
    return made


def close(found, oracle, name, tolerance):
    atol = oracle.meta["tolerance"][tolerance]
    np.testing.assert_allclose(found.asnumpy(), oracle.arrays[name], atol=atol, rtol=0)


def test_the_rebuilt_graph_equals_the_reference(oracle, model):
    model.set_train(False)
    network = model.backbone
    x = network.norm(oracle.clips)
    for block in list(network.blocks)[:-1]:
        x = block(x)
    drawn = network.blocks[-1].graph.dynamic_graph(x)
    close(drawn.mean(1).reshape(len(x), -1), oracle, "last_graph", "last_graph")
    rebuilt = network.prototypes(drawn.reshape(*drawn.shape[:2], -1))
    close(rebuilt, oracle, "reconstructed_graph", "reconstructed_graph")


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_the_contrastive_loss_equals_the_reference(oracle, jit):
    features, logits, labels, memory = (
        oracle.arrays[name]
        for name in (
            *(f"contrastive_case/{part}" for part in ("features", "logits", "labels")),
            "memory_before",
        )
    )
    loss = ContrastiveLoss(features.shape[1], 60, weight=1.0)
    values = {
        "projection.weight": oracle.state["cls_head.csc_loss.cl_fc.weight"],
        "projection.bias": oracle.state["cls_head.csc_loss.cl_fc.bias"],
        "class_means": memory.astype(np.float32),
    }
    arguments = [Tensor(features), Tensor(logits), Tensor(labels.astype(np.int32))]
    gradient = ms.value_and_grad(loss, 0, loss.trainable_params())
    gradient = ms.jit(gradient) if jit else gradient
    expected = {
        part: oracle.arrays[f"contrastive_case/{part}"]
        for part in ("loss", "features_gradient", "weight_gradient_norm", "bias_gradient")
    }
    for _ in range(3):  # MindSpore has had gradients that are wrong from the second call on
        assign_parameters(loss.get_parameters(), values)
        found, (of_features, (of_weight, of_bias)) = gradient(*arguments)
        assert float(found.asnumpy()) == pytest.approx(float(expected["loss"]), abs=1e-5)
        np.testing.assert_allclose(of_features.asnumpy(), expected["features_gradient"], atol=1e-6)
        np.testing.assert_allclose(of_bias.asnumpy(), expected["bias_gradient"], atol=1e-6)
        norm = np.linalg.norm(of_weight.asnumpy())
        assert norm == pytest.approx(float(expected["weight_gradient_norm"]), rel=1e-4)
    classes = oracle.meta["contrastive_case_memory_classes"]
    means = loss.class_means.asnumpy()
    after = oracle.arrays["contrastive_case/memory_after"]
    np.testing.assert_allclose(means[:, classes], after, atol=oracle.meta["tolerance"]["memory"])
    others = [number for number in range(60) if number not in classes]
    np.testing.assert_array_equal(means[:, others], values["class_means"][:, others])


SMALL = {"base_channels": 8, "num_blocks": 2, "widen_at": (2,), "num_prototypes": 5}


def test_predictions_depend_on_no_prototype():
    model = classifier(ProtoGCN, 4, "coco", **SMALL).set_train(False)
    clips = Tensor(np.random.default_rng(0).random((2, 1, 6, 17, 3), np.float32))
    before = model(clips).asnumpy()
    for parameter in model.get_parameters():
        if parameter.name.startswith(("prototypes.", "head.auxiliary.")):
            ms.ops.assign(parameter, parameter + 1)
    np.testing.assert_array_equal(model(clips).asnumpy(), before)


def test_without_the_contrastive_loss_there_is_no_prototype():
    model = classifier(ProtoGCN, 60, "nturgb+d", contrastive_weight=0.0)
    assert sum(p.size for p in model.trainable_params()) == 3_728_796
    assert model.auxiliary is None
    assert model.backbone.chance((2, 1, 8, 25, 3), np.random.default_rng(0)) == {}


def test_rebuilt_edges_are_dropped_by_the_steps_own_chance():
    model = classifier(ProtoGCN, 4, "coco", prototype_dropout=0.25, **SMALL).set_train(True)
    problem = Classify(4)
    shape = (2, 1, 6, 17, 3)
    drawn = problem.chance(model, shape, np.random.default_rng(0))
    assert list(drawn) == ["dropout_mask", "prototype_mask"]
    assert (drawn["dropout_mask"] == 1).all()
    mask = drawn["prototype_mask"]
    assert np.unique(mask) == pytest.approx([0, 4 / 3])
    assert (mask == 0).mean() == pytest.approx(0.25, abs=0.02)
    clips = Tensor(np.random.default_rng(0).random(shape, np.float32))
    tensors = [Tensor(array) for array in drawn.values()]
    logits, rebuilt = model(clips, *tensors)
    again, same = model(clips, *tensors)
    np.testing.assert_array_equal(rebuilt.asnumpy(), same.asnumpy())
    assert np.abs(rebuilt.asnumpy() - model(clips)[1].asnumpy()).max() > 1e-3
