"""The naive formulation is the same network: with our weights, our logits."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from naive import in_own_layers
from networks import classifier

from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.models.aagcn import AAGCN
from flag3d_exp.models.ctrgcn import CTRGCN
from flag3d_exp.models.folding import FoldedCopy
from flag3d_exp.models.posec3d import PoseC3D
from flag3d_exp.models.stgcn import STGCN

SMALL = {"base_channels": 8, "num_blocks": 2, "widen_at": (2,)}
OWN_NAMES = (
    ("gamma", "weight"),
    ("beta", "bias"),
    ("moving_mean", "running_mean"),
    ("moving_variance", "running_var"),
)


def ours_of(name: str, known: set[str]) -> str:
    """The name among ours of a parameter of MindSpore's own layer."""
    for theirs, ours in OWN_NAMES:
        name = name.removesuffix(theirs) + ours if name.endswith(f".{theirs}") else name
    if name in known:
        return name
    parent, _, leaf = name.rpartition(".")
    outer, _, _ = parent.rpartition(".")
    return f"{outer}.{leaf}"  # MindSpore's layer within ours


@pytest.mark.parametrize(
    ("kind", "layout", "settings"),
    [
        (STGCN, "nturgb+d", SMALL),
        (AAGCN, "nturgb+d", SMALL),
        (CTRGCN, "nturgb+d", SMALL),
        (PoseC3D, "coco", {"base_channels": 4, "stage_blocks": (1, 1, 1), "train_size": 16}),
    ],
)
def test_on_equal_weights_logits_are_equal(kind, layout, settings):
    ms.set_seed(0)
    ours, naive = (classifier(kind, 5, layout, **settings).set_train(True) for _ in range(2))
    values = parameter_values(ours.get_parameters())
    rng = np.random.default_rng(0)
    values = {
        name: value if "norm" not in name else rng.uniform(0.5, 1, value.shape).astype(np.float32)
        for name, value in values.items()
    }
    assign_parameters(ours.get_parameters(), values)
    in_own_layers(naive)
    assert FoldedCopy(naive).network is naive  # MindSpore's layers are timed as they are
    naive.set_train(True)
    names = {p.name: ours_of(p.name, set(values)) for p in naive.get_parameters()}
    assert sorted(names.values()) == sorted(values)
    assign_parameters(naive.get_parameters(), {n: values[mine] for n, mine in names.items()})
    shape = (2, 1, 6, 25 if layout == "nturgb+d" else 17, 3)
    clips = Tensor(rng.uniform(0, 16 if layout == "coco" else 1, shape).astype(np.float32))
    expected = ours(clips).asnumpy()
    np.testing.assert_allclose(naive(clips).asnumpy(), expected, atol=1e-4 * abs(expected).max())
