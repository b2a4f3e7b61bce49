"""Each function of the tables of kernels: same values and gradients, call after call."""

import math
from collections.abc import Callable
from functools import partial

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from flag3d_exp.models.kernels import cpu, kernels, library, native, slices, using
from flag3d_exp.models.kernels.frames import every_nth_frame, shifted_frames

if COMPILED := library.is_open():
    from flag3d_exp.models.kernels import onednn
TABLES = {"cpu": cpu, "native": native} | ({"onednn": onednn} if COMPILED else {})
needs_compiled = pytest.mark.skipif(not COMPILED, reason="onednn.cc is not compiled here")


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def value_and_gradients(function: Callable, inputs: list[np.ndarray], jit: bool, calls: int = 1):
    """Output, and the gradient of a weighted sum of it by each input, of the last of the calls."""

    def total(*tensors):
        output = function(*tensors)
        weights = ops.cos(ops.arange(output.size).astype(output.dtype)).reshape(output.shape)
        return (output * weights).sum(), output

    places = tuple(range(len(inputs)))
    compiled = ms.value_and_grad(total, places, has_aux=True)
    compiled = ms.jit(compiled) if jit else compiled
    for _ in range(calls):
        (_, output), gradients = compiled(*[Tensor(array) for array in inputs])
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    return [output.asnumpy(), *(gradient.asnumpy() for gradient in gradients)]


def conv2d(table, out_channels, kernel, stride, dilation, training):
    def function(x, weight, bias):
        return table.conv2d(x, weight, bias, stride, dilation, training)

    return function, [
        drawn(2, 3, 11, 5),
        drawn(out_channels, 3, *kernel, seed=1),
        drawn(out_channels, seed=2),
    ]


def conv3d(table, depthwise, kernel, stride):
    convolve = table.depthwise_conv3d if depthwise else table.conv3d

    def function(x, weight):
        return convolve(x, weight, 4, stride)

    sizes = (3, 1) if depthwise else (4, 3)
    return function, [drawn(8, 3, 6, 5), drawn(*sizes, *kernel, seed=1)]


def mean(table, axes):
    def function(x):
        return table.mean(x, axes)

    return function, [drawn(2, 3, 7, 5)]


def outer(table, name):
    return getattr(table, name), [drawn(2, 3, 4), drawn(2, 3, 4, seed=1)]


def scaled_planes(table):
    return table.scaled_planes, [drawn(2, 3, 4, 4), drawn(2, 3, seed=1)]


def gelu(table):
    return table.gelu, [3 * drawn(2, 3, 40)]


def relu_of_sum(table, count):
    return table.relu_of_sum, [drawn(3, 2, 5, 7), drawn(count, 2, 5, 7, seed=1)]


def sum_with_each(table):
    return table.sum_with_each, [drawn(3, 2, 5, 7), drawn(1, 2, 5, 7, seed=1)]


def statistics(channels: int) -> list[ms.Parameter]:
    """Running mean and variance."""
    start = (np.zeros(channels, np.float32), np.ones(channels, np.float32))
    return [ms.Parameter(array, name=f"statistic_{number}") for number, array in enumerate(start)]


def batch_norm(table, relu):
    running = statistics(3)

    def function(x, weight, bias):
        return table.batch_norm(x, weight, bias, *running, relu)

    return function, [2 * drawn(4, 3, 5, 7) + 1, drawn(3, seed=1), drawn(3, seed=2)]


def running_norm(table, relu):
    mean, variance = Tensor(drawn(3, seed=3)), Tensor(1 + drawn(3, seed=4) ** 2)

    def function(x, weight, bias):
        return table.running_norm(x, weight, bias, mean, variance, relu)

    return function, [2 * drawn(4, 3, 5, 7) + 1, drawn(3, seed=1), drawn(3, seed=2)]


def relu_of_biased(table):
    return table.relu_of_biased, [drawn(3, 2, 5, 7), drawn(2, seed=1)]


def layer_norm(table, training):
    def function(x, weight, bias):
        return table.layer_norm(x, weight, bias, 1e-5, training)

    return function, [drawn(2, 3, 4, 8), drawn(8, seed=1), drawn(8, seed=2)]


KERNELS = [
    ((1, 1), (1, 1), (1, 1)),
    ((1, 1), (2, 1), (1, 1)),
    ((9, 1), (1, 1), (1, 1)),
    ((9, 1), (2, 1), (1, 1)),
    ((15, 1), (1, 1), (1, 1)),
    ((3, 1), (2, 1), (4, 1)),
    ((1, 5), (1, 1), (1, 1)),
]
CASES = {
    f"conv2d {kernel} {stride} {dilation} to {width}{' training' * training}": partial(
        conv2d,
        out_channels=width,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        training=training,
    )
    for kernel, stride, dilation in KERNELS
    for width in (4, 1)
    for training in (True, False)
}
CASES |= {
    f"{'depthwise ' * depthwise}conv3d {kernel} {stride}": partial(
        conv3d, depthwise=depthwise, kernel=kernel, stride=stride
    )
    for depthwise in (False, True)
    for kernel, stride in (((1, 3, 3), 2), ((3, 1, 1), 1), ((3, 3, 3), 1), ((5, 1, 1), 1))
}
CASES |= {f"mean over {axes}": partial(mean, axes=axes) for axes in ((2,), (3,), (2, 3))}
CASES |= {name: partial(outer, name=name) for name in ("outer_product", "outer_sum")}
CASES |= {"scaled_planes": scaled_planes, "gelu": gelu}
CASES |= {
    f"{name}{' relu' * relu}": partial(function, relu=relu)
    for name, function in (("batch_norm", batch_norm), ("running_norm", running_norm))
    for relu in (True, False)
}
CASES |= {f"relu_of_sum with {count}": partial(relu_of_sum, count=count) for count in (3, 1)}
CASES |= {"relu_of_biased": relu_of_biased, "sum_with_each": sum_with_each}
CASES |= {
    f"layer_norm{' training' * training}": partial(layer_norm, training=training)
    for training in (True, False)
}


@pytest.mark.parametrize("name", CASES)
def test_the_tables_agree_in_values_and_gradients(name):
    expected, *found = [
        value_and_gradients(*CASES[name](table), jit=False) for table in TABLES.values()
    ]
    for arrays in found:
        for one, other in zip(arrays, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=3e-5)


@pytest.mark.parametrize("table", [name for name in TABLES if name != "native"])
@pytest.mark.parametrize(
    "name",
    [
        "conv2d (1, 1) (1, 1) (1, 1) to 4 training",
        "conv2d (9, 1) (1, 1) (1, 1) to 4 training",
        "conv2d (9, 1) (2, 1) (1, 1) to 4 training",
        "conv2d (9, 1) (1, 1) (1, 1) to 4",
        "conv2d (15, 1) (1, 1) (1, 1) to 1 training",
        "conv3d (1, 3, 3) 2",
        "conv3d (3, 3, 3) 1",
        "depthwise conv3d (3, 3, 3) 1",
        "mean over (2,)",
        "outer_sum",
        "scaled_planes",
        "layer_norm training",
        "batch_norm",
        "batch_norm relu",
        "running_norm",
        "running_norm relu",
        "gelu",
        "relu_of_biased",
        "relu_of_sum with 3",
        "relu_of_sum with 1",
        "sum_with_each",
    ],
)
def test_compiled_gradients_stay_right_call_after_call(name, table):
    """MindSpore has operations whose compiled gradient is wrong from the second call on."""
    eager = value_and_gradients(*CASES[name](cpu), jit=False)
    compiled = value_and_gradients(*CASES[name](TABLES[table]), jit=True, calls=3)
    for one, other in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


def test_the_tables_have_the_same_functions():
    names = {
        name
        for name, value in vars(native).items()
        if getattr(value, "__module__", "") == native.__name__
    }
    assert names == {
        "batch_norm",
        "conv2d",
        "conv3d",
        "depthwise_conv3d",
        "gelu",
        "layer_norm",
        "mean",
        "outer_product",
        "outer_sum",
        "recomputed",
        "relu_of_biased",
        "relu_of_sum",
        "running_norm",
        "scaled_planes",
        "sum_with_each",
    }
    assert all(callable(getattr(table, name)) for table in TABLES.values() for name in names)


def test_a_block_chooses_the_table_of_layers_made_in_it():
    own = TABLES["onednn" if COMPILED else "cpu"]
    assert kernels() is own
    with using(native):
        assert kernels() is native
    assert kernels() is own


def test_without_compiled_functions_convolutions_are_products(monkeypatch):
    monkeypatch.setattr(library, "is_open", lambda: False)
    assert kernels() is cpu


@needs_compiled
@pytest.mark.parametrize("kind", [ms.float16, ms.float32])
def test_half_precision_is_computed_too(kind):
    function, inputs = CASES["conv2d (9, 1) (1, 1) (1, 1) to 4 training"](onednn)
    tensors = [Tensor(array).astype(kind) for array in inputs]
    found, expected = function(*tensors), cpu.conv2d(*tensors, (1, 1), (1, 1), True)
    assert found.dtype == kind
    np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), atol=1e-5)


@needs_compiled
def test_a_thousand_shapes_are_computed_one_after_the_other():
    """More than are kept; the first is computed again at the end."""
    weight = Tensor(drawn(2, 1, 3, 1))
    for frames in [*range(1, 1100), 1]:
        x = Tensor(drawn(1, 1, frames, 1))
        found = onednn.conv2d(x, weight, None, (1, 1), (1, 1), True).asnumpy()
    middle = weight.asnumpy()[:, 0, 1, 0] * x.asnumpy()[0, 0, 0, 0]
    np.testing.assert_allclose(found.ravel(), middle, rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("table", TABLES)
def test_a_batch_norm_is_that_of_its_definition_and_updates_its_statistics(table, jit):
    running = statistics(3)
    weight, bias = drawn(3, seed=1), drawn(3, seed=2)

    def norm(x):
        return TABLES[table].batch_norm(x, Tensor(weight), Tensor(bias), *running, False)

    mean, variance = np.zeros(3), np.ones(3)
    compiled = ms.jit(norm) if jit else norm
    for seed in range(3):
        # Planes of 35 and 50 numbers, no multiples of 16; the mean is 100 times the deviation.
        x = drawn(2, 3, 5, 10 if seed else 7, seed=seed) + 100
        wide = x.astype(np.float64)
        own_mean, own_variance = wide.mean((0, 2, 3)), wide.var((0, 2, 3))
        count = x.size / 3
        mean += 0.1 * (own_mean - mean)
        variance += 0.1 * (own_variance * count / (count - 1) - variance)
        centred = wide - own_mean.reshape(-1, 1, 1)
        expected = centred / np.sqrt(own_variance.reshape(-1, 1, 1) + 1e-5)
        expected = expected * weight.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
        np.testing.assert_allclose(compiled(Tensor(x)).asnumpy(), expected, atol=1e-3)
        np.testing.assert_allclose(running[0].asnumpy(), mean, rtol=1e-4)
        np.testing.assert_allclose(running[1].asnumpy(), variance, rtol=1e-3)


@needs_compiled
def test_the_compiled_relu_keeps_what_is_no_number():
    x = np.array([[np.nan, -1, 2, np.inf]], np.float32)
    out = onednn.relu_of_sum(Tensor(x), Tensor(np.ones_like(x))).asnumpy()
    np.testing.assert_array_equal(out, [[np.nan, 0, 3, np.inf]])


@needs_compiled
def test_exact_gelu_of_large_and_small_numbers():
    x = np.array([-40, -6, -1e-20, 0, 1e-20, 0.5, 6, 1e30], np.float32)
    expected = [0.5 * value * math.erfc(-value / math.sqrt(2)) for value in x.tolist()]
    np.testing.assert_allclose(onednn.gelu(Tensor(x)).asnumpy(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", [name for name in CASES if "conv3d" in name])
def test_a_volume_convolution_equals_the_definition(name, table):
    function, (x, weight) = CASES[name](TABLES[table])
    stride = CASES[name].keywords["stride"]
    depthwise = CASES[name].keywords["depthwise"]
    expected = volume_convolution(x, weight, 4, stride, depthwise)
    found = function(*(Tensor(array) for array in (x, weight))).asnumpy()
    np.testing.assert_allclose(found, expected, atol=3e-5)


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


def test_unfolding_in_groups_of_frames_changes_nothing(monkeypatch):
    x, weight = Tensor(drawn(5, 2, 4, 4)), Tensor(drawn(3, 2, 1, 3, 3))
    whole = cpu.conv3d(x, weight, 5, 1).asnumpy()
    monkeypatch.setattr(cpu, "MAX_UNFOLDED", 2 * 18 * 16)
    np.testing.assert_allclose(cpu.conv3d(x, weight, 5, 1).asnumpy(), whole, atol=1e-6)


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
    kept, gradient = ms.value_and_grad(lambda x: ops.square(slices.every_nth(x, 3, axis)).sum())(x)
    expected = np.zeros((2, 5, 6), np.float32)
    expected[tuple(places)] = 2 * x.asnumpy()[tuple(places)]
    np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=1e-6)
    assert float(kept.asnumpy()) == pytest.approx(np.square(expected / 2).sum(), rel=1e-5)
