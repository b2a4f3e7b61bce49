"""Shared layers, by their definitions; compiled gradients are right call after call."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from flag3d_exp.models import layers
from flag3d_exp.models.classifier import Head
from flag3d_exp.models.folding import FoldedCopy
from flag3d_exp.models.graph import GraphConv, KeypointNorm
from flag3d_exp.models.layers import BatchNorm, Conv
from flag3d_exp.models.temporal import Branches, max_of_three_frames
from flag3d_exp.models.volume import DepthwiseConv, VolumeConv, VolumeUnit


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def value_and_gradients(cell, *inputs, jit: bool, calls: int = 1):
    """Output and gradients (input, parameters) of the last of several calls."""
    parameters = cell.trainable_params()

    def total(*tensors):
        output = cell(*tensors)
        weights = ops.cos(ops.arange(output.size).astype(output.dtype)).reshape(output.shape)
        return (output * weights).sum(), output

    function = ms.value_and_grad(total, 0, parameters, has_aux=True)
    function = ms.jit(function) if jit else function
    for _ in range(calls):
        (_, output), (of_input, of_parameters) = function(*inputs)
    return [output.asnumpy(), of_input.asnumpy(), *(g.asnumpy() for g in of_parameters)]


class Bound(ms.nn.Cell):
    """A volume layer with the number of frames filled in."""

    def __init__(self, layer, num_frames):
        super().__init__()
        self.layer, self.num_frames = layer, num_frames

    def construct(self, x):
        return self.layer(x, self.num_frames)


def cells_and_inputs():
    graph = Tensor(np.abs(drawn(3, 5, 5, seed=1)))
    x = Tensor(drawn(2, 4, 8, 5))
    spread = GraphConv(4, 6, 3, spread_bias=True)
    ops.assign(spread.bias, Tensor(drawn(18)))
    return {
        "conv": (Conv(4, 6, (9, 1), (2, 1)), x),
        "norm": (BatchNorm(4).set_train(), x),
        "graph": (Graph(spread, graph), x),
        "branches": (Branches(4, 13, 2).set_train(), x),
        "volume": (Bound(VolumeConv(4, 3, (3, 3, 3), 2), 2), x),
        "depthwise": (Bound(DepthwiseConv(4, (3, 3, 3), 2), 2), x),
        "keypoints": (KeypointNorm(5, 3, 2).set_train(), Tensor(drawn(2, 2, 6, 5, 3))),
    }


class Graph(ms.nn.Cell):
    def __init__(self, conv, graph):
        super().__init__()
        self.conv, self.graph = conv, graph

    def construct(self, x):
        return self.conv(x, self.graph)


@pytest.mark.parametrize("name", cells_and_inputs())
def test_compiled_gradients_stay_right_call_after_call(name):
    """MindSpore has operations whose compiled gradient is wrong from the second call on."""
    cell, x = cells_and_inputs()[name]
    eager = value_and_gradients(cell, x, jit=False)
    for one, other in zip(eager, value_and_gradients(cell, x, jit=True, calls=3), strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


def test_batch_norm_keeps_the_unbiased_variance_and_normalises_with_the_biased_one():
    norm = BatchNorm(3).set_train()
    x = drawn(4, 3, 5, 2)
    y = norm(Tensor(x)).asnumpy()
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    expected = (x - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(norm.running_mean.asnumpy(), 0.1 * mean, atol=1e-6)
    np.testing.assert_allclose(
        norm.running_var.asnumpy(), 0.9 + 0.1 * variance * 40 / 39, atol=1e-6
    )
    norm.set_train(False)
    before = norm.running_var.asnumpy()
    norm(Tensor(x))
    np.testing.assert_array_equal(norm.running_var.asnumpy(), before)


def test_a_graph_convolution_is_the_sum_over_subsets():
    adjacency, x = np.abs(drawn(2, 3, 3, seed=1)), drawn(1, 2, 4, 3)
    for spread in (False, True):
        layer = GraphConv(2, 5, 2, spread_bias=spread)
        ops.assign(layer.bias, Tensor(drawn(10)))
        weight = layer.weight.asnumpy().reshape(2, 5, 2)
        bias = layer.bias.asnumpy().reshape(2, 5)
        expected = np.einsum("koc,nctv,kvw->notw", weight, x, adjacency)
        if spread:
            expected = expected + np.einsum("ko,kvw->ow", bias, adjacency)[None, :, None]
        else:
            np.testing.assert_allclose(layer.channel_bias().asnumpy(), bias.sum(0), atol=1e-6)
        shared = layer(Tensor(x), Tensor(adjacency)).asnumpy()
        np.testing.assert_allclose(shared, expected, atol=1e-5)
    layer = GraphConv(2, 5, 2)
    expected = layer(Tensor(x), Tensor(adjacency)).asnumpy()
    of_each_clip = layer(Tensor(x), Tensor(adjacency[None])).asnumpy()
    np.testing.assert_allclose(of_each_clip, expected, atol=1e-5)


def test_the_head_averages_persons_and_applies_the_mask():
    head = Head(2, 3)
    x, mask = drawn(4, 2, 5, 6), drawn(2, 2, seed=2)  # two clips of two persons
    features = x.mean((2, 3)).reshape(2, 2, 2).mean(1)
    expected = (features * mask) @ head.weight.asnumpy().T
    found = head(Tensor(x.reshape(2, 2, 2, 5, 6)), Tensor(mask)).asnumpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_head_averages_the_frames_and_pixels_of_a_volume():
    head = Head(2, 3)
    x = drawn(2, 1, 2, 4, 5, 6)
    expected = x.mean((1, 3, 4, 5)) @ head.weight.asnumpy().T
    np.testing.assert_allclose(head(Tensor(x)).asnumpy(), expected, atol=1e-6)


def test_tanh_is_exact_to_rounding():
    x = np.linspace(-12, 12, 4001, dtype=np.float32)
    np.testing.assert_allclose(layers.tanh(Tensor(x)).asnumpy(), np.tanh(x), atol=3e-6)


def test_the_maximum_looks_one_frame_either_way():
    x = Tensor(np.array([1, 5, 2, 0, 3], np.float32).reshape(1, 1, 5, 1))
    np.testing.assert_array_equal(max_of_three_frames(x).asnumpy().ravel(), [5, 5, 5, 3, 3])


def test_branches_in_training_take_the_same_maximum_as_in_evaluation():
    branches = Branches(4, 13, 2)
    last = Tensor(np.abs(drawn(2, 3, 9, 5)))
    np.testing.assert_array_equal(
        branches.pool(last).asnumpy(), max_of_three_frames(last).asnumpy()
    )


def pairs():
    """What makes a convolution with a norm after it, and what the pair takes."""
    graph = Tensor(np.abs(drawn(3, 5, 5, seed=1)))
    x = Tensor(drawn(2, 4, 8, 5))
    return {
        "conv": (lambda: Pair(Conv(4, 6, (9, 1), add_bias=False)), (x,)),
        "no bias": (lambda: Pair(Conv(4, 6, bias=False)), (x,)),
        "graph": (lambda: Pair(GraphConv(4, 6, 3)), (x, graph)),
        "spread graph": (lambda: Pair(GraphConv(4, 6, 3, spread_bias=True)), (x, graph)),
        "volume": (lambda: VolumeUnit(4, 6, (3, 3, 3), 2, relu=False), (x, 2)),
        "1x1 volume": (lambda: VolumeUnit(4, 6, relu=False), (x, 2)),
        "depthwise": (lambda: VolumeUnit(4, 4, (3, 3, 3), relu=False, depthwise=True), (x, 2)),
        "conv alone": (lambda: ms.nn.SequentialCell(Conv(4, 6, (3, 1))), (x,)),
    }


class Pair(ms.nn.Cell):
    norm_follows_conv = True

    def __init__(self, conv):
        super().__init__()
        self.conv, self.norm = conv, BatchNorm(6)

    def construct(self, *inputs):
        return self.norm(self.conv(*inputs), self.conv.channel_bias())


@pytest.mark.parametrize("name", pairs())
def test_a_norm_made_part_of_its_convolution_equals_the_two_apart(name):
    make, inputs = pairs()[name]
    model = make().set_train(False)
    for number, parameter in enumerate(model.get_parameters()):
        value = 0.5 + 0.1 * np.abs(drawn(*parameter.shape, seed=number))
        ops.assign(parameter, Tensor(value.astype(np.float32)))
    expected = model(*inputs).asnumpy()
    copy = FoldedCopy(model)
    assert copy.network is not model
    copy.take_weights()
    for num_kept in (None, 2):
        if num_kept:
            copy.keep_weights(num_kept)
        folded = ms.jit(copy.network.set_train(False).construct)
        np.testing.assert_allclose(folded(*inputs).asnumpy(), expected, atol=1e-5)
    np.testing.assert_array_equal(model(*inputs).asnumpy(), expected)


def test_in_training_only_the_running_mean_sees_the_bias_before_a_norm():
    x, bias = Tensor(drawn(4, 3, 5, 2)), Tensor(drawn(3, seed=1))
    given, added = (BatchNorm(3).set_train() for _ in range(2))
    for _ in range(2):
        found = ms.jit(given.construct)(x, bias).asnumpy()
        expected = ms.jit(added.construct)(ops.bias_add(x, bias)).asnumpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for one, other in zip(given.get_parameters(), added.get_parameters(), strict=True):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=1e-5, atol=1e-6)
    for norm in (given, added):
        norm.set_train(False)
    expected = added(ops.bias_add(x, bias)).asnumpy()
    np.testing.assert_allclose(given(x, bias).asnumpy(), expected, atol=1e-5)
