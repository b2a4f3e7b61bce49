"""Adaptation to a target without labels, on networks small enough to follow."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from networks import SMALL_GRAPH

from flag3d_exp.engine.adapt.shot import Shot, pseudo_labels
from flag3d_exp.engine.adapt.statistics import BatchStatistics, norm_cells
from flag3d_exp.engine.adapt.tent import Tent, entropy
from flag3d_exp.engine.parameters import parameter_values
from flag3d_exp.errors import UserError
from flag3d_exp.models.classifier import Classifier
from flag3d_exp.models.stgcn import STGCN


@pytest.fixture
def network():
    ms.set_seed(0)
    return Classifier(STGCN("coco", num_channels=2, **SMALL_GRAPH), 4)


def batches(number, size=6, shift=3.0):
    """Clips (N, 1, 8, 17, 2) of another mean and spread than 0 and 1."""
    rng = np.random.default_rng(0)
    clips = rng.normal(shift, 2, (number, size, 1, 8, 17, 2)).astype(np.float32)
    return clips, lambda _: [{"keypoints": one} for one in clips]


def adapt(method, network, load):
    return list(method(network, load, jit=False))


def test_the_first_norm_gets_the_mean_and_variance_of_the_target(network):
    clips, load = batches(3)
    adapt(BatchStatistics(), network, load)
    first = norm_cells(network)[0]
    # Its channels are persons times joints times coordinates; all clips and frames are samples.
    flat = clips.reshape(-1, 8, 34).reshape(-1, 34).astype(np.float64)
    means = np.sort(first.running_mean.asnumpy())
    np.testing.assert_allclose(means, np.sort(flat.mean(0)), rtol=1e-4)
    variances = np.sort(first.running_var.asnumpy())
    np.testing.assert_allclose(variances, np.sort(flat.var(0)), rtol=0.03)


def test_shares_of_the_target_fall_from_the_first_norm_to_the_last(network):
    _, load = batches(2)
    whole = parameter_values(network.get_parameters())
    adapt(BatchStatistics((1.0, 1.0)), network, load)
    target = [norm.running_mean.asnumpy().copy() for norm in norm_cells(network)]
    for norm in norm_cells(network):
        ms.ops.assign(norm.running_mean, Tensor(whole[norm.running_mean.name]))
        ms.ops.assign(norm.running_var, Tensor(whole[norm.running_var.name]))
    adapt(BatchStatistics((1.0, 0.0)), network, load)
    mixed = [norm.running_mean.asnumpy() for norm in norm_cells(network)]
    for share, one, full in zip(np.linspace(1, 0, len(mixed)), mixed, target, strict=True):
        np.testing.assert_allclose(one, share * full, rtol=1e-4, atol=1e-6)


def test_statistics_change_nothing_but_the_norms_statistics(network):
    before = parameter_values(network.get_parameters())
    adapt(BatchStatistics(), network, batches(2)[1])
    changed = {
        name
        for name, value in parameter_values(network.get_parameters()).items()
        if (value != before[name]).any()
    }
    assert changed == {name for name in before if "running_" in name}


def test_no_share_of_the_target_changes_nothing(network):
    before = parameter_values(network.get_parameters())
    adapt(BatchStatistics((0.0, 0.0)), network, batches(2)[1])
    for name, value in parameter_values(network.get_parameters()).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_tent_lowers_the_entropy_by_scales_and_shifts_alone(network):
    before = parameter_values(network.get_parameters())
    _, load = batches(1)
    found = adapt(Tent(lr=0.05), network, lambda number: load(number) * 8)
    assert found[-1]["entropy"] < found[0]["entropy"]
    changed = {
        name
        for name, value in parameter_values(network.get_parameters()).items()
        if (value != before[name]).any()
    }
    norms = norm_cells(network)
    allowed = {p.name for n in norms for p in (n.weight, n.bias, n.running_mean, n.running_var)}
    assert changed and changed <= allowed


def test_shot_leaves_the_classifier_as_it_is_and_lowers_its_loss(network):
    ms.ops.assign(network.head.weight, 100 * network.head.weight)  # as if it were trained
    before = parameter_values(network.get_parameters())
    found = adapt(Shot(lr=0.1, epochs=8), network, batches(1, size=8)[1])
    assert found[-1]["loss"] < found[0]["loss"]
    after = parameter_values(network.get_parameters())
    assert all((after[n] == before[n]).all() for n in before if n.startswith("head."))
    assert any((after[n] != before[n]).any() for n in before if n.endswith("conv.weight"))


@pytest.mark.parametrize("method", [BatchStatistics(), Tent(), Shot(epochs=2)], ids=repr)
def test_a_compiled_adaptation_is_the_eager_one(method):
    adapted = []
    for jit in (False, True):
        ms.set_seed(0)
        network = Classifier(STGCN("coco", num_channels=2, **SMALL_GRAPH), 4)
        _, load = batches(2)
        list(method(network, load, jit))
        adapted.append(parameter_values(network.get_parameters()))
    eager, compiled = adapted
    for name, value in compiled.items():
        np.testing.assert_allclose(value, eager[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_pseudo_labels_are_those_of_the_nearest_centroid():
    features = np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [0.2, 1.0]])
    # The third is taken for class 0, but lies beside the fourth.
    scores = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.6, 0.4, 0], [0.1, 0.9, 0]])
    assert pseudo_labels(features, scores).tolist() == [0, 0, 1, 1]


def test_entropy_is_that_of_a_fair_coin_for_equal_logits():
    assert float(entropy(Tensor(np.zeros((3, 2), np.float32))).asnumpy()) == pytest.approx(
        np.log(2)
    )


def test_settings_out_of_range_and_networks_without_norms_are_refused():
    with pytest.raises(UserError, match="`task.method.alpha` must be from 0 to 1"):
        BatchStatistics((1.5, 1.0))
    with pytest.raises(UserError, match="`task.method.lr` must be above 0"):
        Tent(lr=0.0)
    with pytest.raises(UserError, match="but this network has none"):
        adapt(BatchStatistics(), ms.nn.Dense(2, 2), batches(1)[1])
