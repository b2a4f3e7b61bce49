"""Shared layers: both formulations agree, compiled gradients are right call after call."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from flag3d_exp.models import layers
from flag3d_exp.models.classifier import Head
from flag3d_exp.models.folding import take_weights, with_norms_folded
from flag3d_exp.models.graph import GraphConv, KeypointNorm
from flag3d_exp.models.layers import BatchNorm, Conv
from flag3d_exp.models.temporal import Branches, max_of_three_frames
from flag3d_exp.models.volume import DepthwiseConv, VolumeConv, every_nth_frame, shifted_frames


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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("out_channels", [4, 1])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [
        ((1, 1), (1, 1), (1, 1)),
        ((1, 1), (2, 1), (1, 1)),
        ((9, 1), (1, 1), (1, 1)),
        ((9, 1), (2, 1), (1, 1)),
        ((15, 1), (1, 1), (1, 1)),
        ((3, 1), (2, 1), (4, 1)),
    ],
)
def test_a_convolution_by_matrix_product_equals_the_native_one(
    kernel, stride, dilation, out_channels, training
):
    product, native = (
        Conv(3, out_channels, kernel, stride, dilation, native=native).set_train(training)
        for native in (False, True)
    )
    for mine, theirs in zip(native.get_parameters(), product.get_parameters(), strict=True):
        value = drawn(*mine.shape, seed=len(mine.shape))
        ops.assign(mine, Tensor(value))
        ops.assign(theirs, Tensor(value))
    x = Tensor(drawn(2, 3, 11, 5))
    found = value_and_gradients(product, x, jit=False)
    for one, other in zip(found, value_and_gradients(native, x, jit=False), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("kind", [VolumeConv, DepthwiseConv])
@pytest.mark.parametrize(
    ("kernel", "stride"), [((1, 3, 3), 2), ((3, 1, 1), 1), ((3, 3, 3), 1), ((5, 1, 1), 1)]
)
def test_a_volume_convolution_equals_the_definition(kind, kernel, stride):
    sizes = (3, 4) if kind is VolumeConv else (3,)
    product, native = (kind(*sizes, kernel, stride, native=native) for native in (False, True))
    ops.assign(native.weight, product.weight)
    x = drawn(2 * 4, 3, 6, 5)
    found = [
        value_and_gradients(Bound(cell, 4), Tensor(x), jit=False) for cell in (product, native)
    ]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    expected = volume_convolution(x, product.weight.asnumpy(), 4, stride, kind is DepthwiseConv)
    np.testing.assert_allclose(found[0][0], expected, atol=2e-5)


def volume_convolution(x, weight, num_frames, stride, depthwise):
    """The sum over the kernel, one element of it at a time."""
    nt, c, h, w = x.shape
    frames, rows, columns = weight.shape[2:]
    pads = [(0, 0), *((size // 2,) * 2 for size in (frames, rows, columns))]
    clips = x.reshape(-1, num_frames, c, h, w).transpose(0, 2, 1, 3, 4)
    padded = np.pad(clips, [(0, 0), *pads])
    total = 0
    for f in range(frames):
        for r in range(rows):
            for q in range(columns):
                part = padded[:, :, f : f + num_frames, r : r + h : stride, q : q + w : stride]
                one = weight[:, :, f, r, q]
                contraction = "nithw,oi->nothw" if not depthwise else "nithw,ij->nithw"
                total = total + np.einsum(contraction, part, one)
    return total.transpose(0, 2, 1, 3, 4).reshape(nt, -1, *total.shape[3:])


class Bound(ms.nn.Cell):
    """A volume layer with the number of frames filled in."""

    def __init__(self, layer, num_frames):
        super().__init__()
        self.layer, self.num_frames = layer, num_frames

    def construct(self, x):
        return self.layer(x, self.num_frames)


def test_unfolding_in_groups_of_frames_changes_nothing(monkeypatch):
    layer = VolumeConv(2, 3, (1, 3, 3), native=False)
    x = Tensor(drawn(5, 2, 4, 4))
    whole = layer(x, 5).asnumpy()
    monkeypatch.setattr("flag3d_exp.models.volume.MAX_UNFOLDED", 2 * 18 * 16)
    np.testing.assert_allclose(layer(x, 5).asnumpy(), whole, atol=1e-6)


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
            expected = expected + bias.sum(0)[None, :, None, None]
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


def test_frames_are_shifted_and_left_out_within_their_clip():
    x = Tensor(np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(shifted_frames(x, 1).asnumpy(), [[0, 1, 2], [0, 4, 5]])
    np.testing.assert_array_equal(shifted_frames(x, -2).asnumpy(), [[3, 0, 0], [6, 0, 0]])
    np.testing.assert_array_equal(shifted_frames(x, 5).asnumpy(), np.zeros((2, 3)))
    kept = every_nth_frame(x.reshape(6, 1, 1, 1), 3, 2).asnumpy()
    np.testing.assert_array_equal(kept.ravel(), [1, 3, 4, 6])


@pytest.mark.parametrize("axis", [1, 2])
def test_every_nth_place_is_kept_and_gets_the_gradient(axis):
    x = Tensor(drawn(2, 5, 6))
    places = [slice(None), slice(None), slice(None)]
    places[axis] = slice(None, None, 3)
    kept, gradient = ms.value_and_grad(lambda x: ops.square(layers.every_nth(x, 3, axis)).sum())(x)
    expected = np.zeros((2, 5, 6), np.float32)
    expected[tuple(places)] = 2 * x.asnumpy()[tuple(places)]
    np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=1e-6)
    assert float(kept.asnumpy()) == pytest.approx(np.square(expected / 2).sum(), rel=1e-5)


def test_the_maximum_looks_one_frame_either_way():
    x = Tensor(np.array([1, 5, 2, 0, 3], np.float32).reshape(1, 1, 5, 1))
    np.testing.assert_array_equal(max_of_three_frames(x).asnumpy().ravel(), [5, 5, 5, 3, 3])


def test_branches_in_training_take_the_same_maximum_as_in_evaluation():
    branches = Branches(4, 13, 2)
    last = Tensor(np.abs(drawn(2, 3, 9, 5)))
    np.testing.assert_array_equal(
        branches.pool(last).asnumpy(), max_of_three_frames(last).asnumpy()
    )


@pytest.mark.parametrize("axes", [(2,), (3,), (2, 3)])
def test_a_mean_by_matrix_product_equals_the_reduction(axes):
    x = Tensor(drawn(2, 3, 7, 5))
    product, native = (layers.Mean(axes, native=native) for native in (False, True))
    np.testing.assert_allclose(native(x).asnumpy(), x.asnumpy().mean(axes), atol=1e-6)
    found = value_and_gradients(product, x, jit=False)
    for one, other in zip(found, value_and_gradients(native, x, jit=False), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def normalised_cells():
    """Convolutions with a norm after them, and what they take."""
    graph = Tensor(np.abs(drawn(3, 5, 5, seed=1)))
    x = Tensor(drawn(2, 4, 8, 5))
    plain, spread = (GraphConv(4, 6, 3, spread_bias=spread) for spread in (False, True))
    return {
        "conv": (Conv(4, 6, (9, 1)), (x,)),
        "no bias": (Conv(4, 6, bias=False), (x,)),
        "graph": (plain, (x, graph)),
        "spread graph": (spread, (x, graph)),
        "volume": (VolumeConv(4, 6, (3, 3, 3), 2), (x, 2)),
        "1x1 volume": (VolumeConv(4, 6), (x, 2)),
        "depthwise": (DepthwiseConv(4, (3, 3, 3)), (x, 2)),
    }


class Pair(layers.Normalised):
    def __init__(self, conv, native):
        super().__init__()
        self.conv = conv
        self.norm = BatchNorm(4 if isinstance(conv, DepthwiseConv) else 6, native=native)

    def construct(self, *inputs):
        return self.normalised(*inputs)


@pytest.mark.parametrize("name", normalised_cells())
def test_a_norm_made_part_of_its_convolution_equals_the_two_apart(name):
    conv, inputs = normalised_cells()[name]
    pairs = [Pair(conv, native) for native in (False, True)]
    for number, parameter in enumerate(pairs[0].get_parameters()):
        value = Tensor(0.5 + 0.1 * np.abs(drawn(*parameter.shape, seed=number)))
        for pair in pairs:
            ops.assign(dict(pair.parameters_and_names())[parameter.name], value)
    without_bias, apart = (ms.jit(pair.set_train().construct) for pair in pairs)
    for _ in range(3):
        found, expected = without_bias(*inputs).asnumpy(), apart(*inputs).asnumpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    copy = with_norms_folded(pairs[0])
    take_weights(copy, pairs[0])
    folded, apart = (ms.jit(cell.set_train(False).construct) for cell in (copy, pairs[1]))
    expected = apart(*inputs).asnumpy()
    np.testing.assert_allclose(folded(*inputs).asnumpy(), expected, atol=1e-5)
    np.testing.assert_allclose(pairs[0].set_train(False)(*inputs).asnumpy(), expected, atol=1e-5)
    for one, other in zip(*(pair.norm.get_parameters() for pair in pairs), strict=True):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=1e-5, atol=1e-6)
