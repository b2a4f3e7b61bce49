"""The PyTorch networks that are timed have the layers of ours: with our weights, our logits."""

import os
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops
from omegaconf import OmegaConf

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.experiment import built_object, class_name
from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.errors import UserError
from flag3d_exp.models.classifier import Classifier

torch = pytest.importorskip(
    "torch", reason="PYTORCH IS ABSENT: the networks to time against were not tested"
)
from torch_networks import network, training_loss  # noqa: E402  only where there is torch

OTHERS = {"actor", "mdm", "videopose"}  # for problems that are not timed against PyTorch
MODELS = sorted({path.stem for path in (CONF / "model").glob("*.yaml")} - OTHERS)
NARROW = {
    "ctrgcn": {"base_channels": 16},
    "stgcn_small": {"base_channels": 4, "num_blocks": 2},
    "posec3d_346": {"base_channels": 4, "stage_blocks": [1, 2, 1]},
    "protogcn": {"base_channels": 16, "num_prototypes": 6, "prototype_dropout": 0.0},
    "blockgcn": {"base_channels": 16, "joint_channels": False},
    "skateformer": {
        "clip_len": 16,
        "stage_channels": [32, 64],
        "stage_blocks": [1, 2],
        "time_channel": False,
        "attention_dropout": 0.0,
        "drop_path": 0.0,
    },
}
GRAPH = {"num_channels": 3, "num_persons": 2, "layout": "nturgb+d"}
HEATMAP = {"train_size": 16, "test_size": 16, "layout": "coco"}


def settings_of(name: str, **changes):
    """The model group of a choice, for two persons or small heatmaps."""
    loaded = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    if name == "stgcn_small":
        loaded = OmegaConf.merge(OmegaConf.load(CONF / "model" / "stgcn.yaml"), loaded)
    del loaded["defaults"]
    fixed = HEATMAP if "train_size" in loaded else GRAPH
    return OmegaConf.merge(loaded, fixed, changes)


@pytest.mark.parametrize("name", MODELS)
def test_on_equal_weights_logits_are_equal(name):
    ms.set_seed(0)
    settings = settings_of(name, **NARROW.get(name, {}))
    model = Classifier(built_object(settings), 5).set_train(
        True
    )  # the norms of the batch keep numbers small
    rng = np.random.default_rng(0)
    weights = {
        key: (rng.uniform(0.5, 1.5, value.shape) if "norm" in key else value).astype(np.float32)
        for key, value in parameter_values(model.get_parameters()).items()
    }
    for key in weights:
        if key.endswith("gate") or key.endswith("share"):  # what they weigh would not count
            weights[key] = rng.uniform(0.5, 1, weights[key].shape).astype(np.float32)
    assign_parameters(model.get_parameters(), weights)
    theirs = network(class_name(settings), {**settings, "num_classes": 5}, weights).train()
    trained = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert trained == sum(p.size for p in model.trainable_params())
    if "train_size" in settings:
        volumes = rng.uniform(0, 1, (2, 4, 17, 16, 16)).astype(np.float32)  # (N, T, V, H, W)
        frames = Tensor(volumes.reshape(8, 17, 16, 16))
        ours = model.head(model.backbone.volume_features(frames, 4))
        clips = volumes.transpose(0, 2, 1, 3, 4).copy()
    else:
        clips = rng.standard_normal((2, 2, 16, 25, 3)).astype(np.float32)
        ours = model(Tensor(clips))
    if isinstance(ours, tuple):  # with the evidence of an auxiliary loss
        ours = ours[0]
    with torch.no_grad():
        found = theirs(torch.tensor(clips)).numpy()
    scale = np.abs(found).max()
    assert found.std() > 1e-3 * scale > 0
    np.testing.assert_allclose(ours.asnumpy(), found, atol=2e-5 * scale)


def test_the_loss_of_protogcn_is_equal():
    ms.set_seed(0)
    settings = settings_of("protogcn", **NARROW["protogcn"])
    model = Classifier(built_object(settings), 5).set_train(True)
    weights = parameter_values(model.get_parameters())
    weights = {
        key: np.full_like(value, 0.7) if key.endswith("gate") else value
        for key, value in weights.items()
    }
    assign_parameters(model.get_parameters(), weights)
    theirs = network("ProtoGCN", {**settings, "num_classes": 5}, weights).train()
    clips = np.random.default_rng(0).standard_normal((4, 2, 16, 25, 3)).astype(np.float32)
    logits, evidence = model(Tensor(clips))
    labels = logits.asnumpy().argmax(1)  # right answers, which move the means of their classes
    labels[0] = (labels[0] + 1) % 5
    known = Tensor(labels.astype(np.int32))
    ours = ops.cross_entropy(logits, known) + model.auxiliary(evidence, logits, known)
    loss = training_loss(theirs, torch.tensor(clips), torch.tensor(labels).long())
    assert float(ours) == pytest.approx(loss.item(), rel=1e-4)
    np.testing.assert_allclose(
        theirs.head.auxiliary.class_means.numpy(),
        model.auxiliary.class_means.asnumpy(),
        atol=1e-5,
    )


def test_the_process_of_pytorch_is_free_of_mindspore():
    check = "import sys, torch_networks; sys.exit('mindspore' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", check], env=environment).returncode == 0


def test_a_model_without_a_network_is_refused():
    with pytest.raises(UserError, match="knows no network for Mine"):
        network("Mine", {}, {})
