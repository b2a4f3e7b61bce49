"""Convolutions and GELU by oneDNN, compiled batch norms and sums; the rest is that of `cpu`.

MindSpore's own convolutions on a CPU are also oneDNN's, but slow ones, for arrays in plain order.
onednn.cc lets oneDNN choose the order. Its norms and sums pass over memory less often. The module
may be imported if `library.is_open`.

The functions are documented in `native`. They compute in float32; half precision is left to `cpu`.
"""

from typing import Any

import mindspore as ms
from mindspore import Tensor, ops
from mindspore.ops.auto_generate import ReluGrad

from flag3d_exp.models.kernels import cpu
from flag3d_exp.models.kernels.cpu import layer_norm as layer_norm
from flag3d_exp.models.kernels.cpu import mean as mean
from flag3d_exp.models.kernels.cpu import outer_product as outer_product
from flag3d_exp.models.kernels.cpu import outer_sum as outer_sum
from flag3d_exp.models.kernels.cpu import scaled_planes as scaled_planes
from flag3d_exp.models.kernels.library import LIBRARY
from flag3d_exp.models.kernels.native import EPSILON, MOMENTUM

NORM = Tensor([EPSILON, MOMENTUM], ms.float32)


def recomputed(kernel):
    """See `native.recomputed`: only the products keep copies of their weights."""
    return kernel == (1, 1, 1)


def compiled(name, out_shape, bprop=None, num_outputs=1):
    """The function `flag3d_<name>` of onednn.cc as an operation of MindSpore.

    Args:
        out_shape: the shape of the output or the outputs, from the shapes of the inputs.
        bprop: the gradients of the inputs, from the inputs, the output and its gradient.
    """

    def out_dtype(first, *_):
        return (first,) * num_outputs if num_outputs > 1 else first

    return ops.Custom(f"{LIBRARY}:flag3d_{name}", out_shape, out_dtype, "aot", bprop=bprop)


def convolved_shape(x, weight, *others):
    """The shape of a convolution's output; the last of the others is that of `settings`."""
    settings = others[-1]
    rows, columns = settings[:2] if len(settings) == 4 else (settings[1],) * 2
    return [x[0], weight[0], (x[2] - 1) // rows + 1, (x[3] - 1) // columns + 1]


def shape_of_first(first, *_):
    """The shape of the first input."""
    return first


def shape_of_third(_first, _second, third, _settings):
    """The shape of the third input, whose gradient is computed."""
    return third


data_gradient = compiled("convolution_data_gradient", shape_of_third)
weight_gradient = compiled("convolution_weight_gradient", shape_of_third)


def gradients(x, weight, settings, _out, dout):
    """The gradients of `convolution`."""
    dx = data_gradient(dout, weight, x, settings)
    return dx, weight_gradient(x, dout, weight, settings), ops.zeros_like(settings)


def gradients_with_bias(x, weight, bias, settings, out, dout):
    """The gradients of `convolution_with_bias`."""
    dx, dweight, dsettings = gradients(x, weight, settings, out, dout)
    return dx, dweight, dout.sum((0, 2, 3)), dsettings


convolution = compiled("convolution", convolved_shape, gradients)
convolution_with_bias = compiled("convolution", convolved_shape, gradients_with_bias)


gelu_gradient = compiled("gelu_gradient", shape_of_first)


def gradient_of_gelu(x, _out, dout):
    """The gradient of `exact_gelu`."""
    return (gelu_gradient(x, dout),)


exact_gelu = compiled("gelu", shape_of_first, gradient_of_gelu)


relu_gradient = ReluGrad()


def gradient_of_relu(x, y, out, dout):
    """The gradients of `compiled_relu_of_sum`."""
    return gradient_of_sum(x, y, out, relu_gradient(dout, out))


def gradient_of_sum(x, y, _out, dout):
    """The gradients of `compiled_sum`."""
    if y.shape == x.shape:
        return dout, dout
    clips = ops.ones((1, x.shape[0]), x.dtype)
    summed = ops.matmul(clips, dout.reshape(x.shape[0], -1))  # a reduction takes longer
    return dout, summed.reshape(y.shape)


def gradient_of_biased(_x, _bias, out, dout):
    """The gradients of `compiled_relu_of_biased`."""
    masked = relu_gradient(dout, out)
    return masked, masked.sum((0, *range(2, masked.ndim)))


def norm_shapes(x, weight, *_):
    """The shapes of the outputs of a norm."""
    return x, weight, weight, weight, weight


def norm_gradient_shapes(_dout, x, weight, *_):
    """The shapes of the gradients of a norm's inputs."""
    return x, weight, weight


def norm_gradients(name):
    """The gradients of the inputs of a norm, by the function with this name."""
    gradient: Any = compiled(name, norm_gradient_shapes, num_outputs=3)

    def bprop(x, weight, bias, running_mean, running_var, settings, out, dout):
        dx, dweight, dbias = gradient(dout[0], x, weight, bias, out[1], out[2])
        others = (ops.zeros_like(running_mean), ops.zeros_like(running_var))
        return dx, dweight, dbias, *others, ops.zeros_like(settings)

    return bprop


def compiled_norm(name):
    """The norm with this name, which has a gradient."""
    return compiled(name, norm_shapes, norm_gradients(f"{name}_gradient"), num_outputs=5)


plain_norm = compiled_norm("batch_norm")
norm_then_relu = compiled_norm("batch_norm_relu")


def running_gradients(x, weight, bias, mean, variance, settings, out, dout):
    """The gradients of `plain_running_norm`, for evaluation: they are not made for speed."""
    inverse = ops.rsqrt(variance + EPSILON)
    centred = (x - mean.reshape(-1, 1, 1)) * inverse.reshape(-1, 1, 1)
    dx = dout * (weight * inverse).reshape(-1, 1, 1)
    others = (ops.zeros_like(mean), ops.zeros_like(variance), ops.zeros_like(settings))
    return dx, (dout * centred).sum((0, 2, 3)), dout.sum((0, 2, 3)), *others


def running_gradients_of_relu(x, weight, bias, mean, variance, settings, out, dout):
    """The gradients of `running_norm_then_relu`."""
    masked = relu_gradient(dout, out)
    return running_gradients(x, weight, bias, mean, variance, settings, out, masked)


plain_running_norm = compiled("running_norm", shape_of_first, running_gradients)
running_norm_then_relu = compiled("running_norm_relu", shape_of_first, running_gradients_of_relu)

compiled_relu_of_sum = compiled("relu_of_sum", shape_of_first, gradient_of_relu)
compiled_sum = compiled("sum", shape_of_first, gradient_of_sum)
compiled_relu_of_biased = compiled("relu_of_biased", shape_of_first, gradient_of_biased)


def conv2d(x, weight, bias, stride, dilation, training):
    """See `native.conv2d`."""
    arranged = arranged_weight(weight, stride, dilation)
    return conv2d_arranged(x, arranged, weight.shape, bias, stride, dilation, training)


def arranged_weight(weight, stride, dilation):
    """The weight as it is, or that of `cpu` for a single product."""
    if is_product(weight.shape, stride):
        return cpu.arranged_weight(weight, stride, dilation)
    return weight


def conv2d_arranged(x, weight, shape, bias, stride, dilation, training):
    """`conv2d` with the weight from `arranged_weight`; see `cpu.conv2d_arranged`."""
    if is_product(shape, stride):
        return cpu.conv2d_arranged(x, weight, shape, bias, stride, dilation, training)
    # The gradients of a convolution to one channel are faster by products.
    if not in_float32(x, weight) or (training and cpu.by_places(shape, stride)):
        return cpu.conv2d(x, weight, bias, stride, dilation, training)
    settings = settings_of(*stride, *dilation)
    if bias is None:
        return convolution(x, weight, settings)
    if training:  # the gradient of `bias_add` is faster
        return ops.bias_add(convolution(x, weight, settings), bias)
    return convolution_with_bias(x, weight, bias, settings)


def is_product(shape, stride):
    """Whether a convolution is one matrix product of arrays as they are."""
    return shape[2] == shape[3] == stride[0] == stride[1] == 1


def in_float32(x, other):
    """Whether the compiled functions can be used: they are for float32."""
    return x.dtype == other.dtype == ms.float32


def settings_of(*numbers):
    """The numbers as the shape of an array, because MindSpore infers shapes from shapes."""
    return ops.zeros(numbers, ms.bool_)


def conv3d(x, weight, num_frames, stride):
    """See `native.conv3d`."""
    is_product = weight.shape[2] == weight.shape[3] == weight.shape[4] == stride == 1
    if is_product or not in_float32(x, weight):
        return cpu.conv3d(x, weight, num_frames, stride)
    return convolution(x, weight, settings_of(num_frames, stride))


def depthwise_conv3d(x, weight, num_frames, stride):
    """See `native.depthwise_conv3d`."""
    if not in_float32(x, weight):
        return cpu.depthwise_conv3d(x, weight, num_frames, stride)
    return convolution(x, weight, settings_of(num_frames, stride))


def batch_norm(x, weight, bias, running_mean, running_var, relu):
    """See `native.batch_norm`."""
    if not in_float32(x, weight):
        return cpu.batch_norm(x, weight, bias, running_mean, running_var, relu)
    norm = norm_then_relu if relu else plain_norm
    out = norm(x, weight, bias, running_mean, running_var, NORM)
    updated = ops.assign(running_mean, out[3]), ops.assign(running_var, out[4])
    return ops.depend(out[0], updated)


def running_norm(x, weight, bias, mean, variance, relu):
    """See `native.running_norm`."""
    if not in_float32(x, weight):
        return cpu.running_norm(x, weight, bias, mean, variance, relu)
    norm = running_norm_then_relu if relu else plain_running_norm
    return norm(x, weight, bias, mean, variance, NORM)


def relu_of_sum(x, y):
    """See `native.relu_of_sum`."""
    return compiled_relu_of_sum(x, y) if in_float32(x, y) else cpu.relu_of_sum(x, y)


def relu_of_biased(x, bias):
    """See `native.relu_of_biased`."""
    return compiled_relu_of_biased(x, bias) if in_float32(x, bias) else cpu.relu_of_biased(x, bias)


def sum_with_each(x, y):
    """See `native.sum_with_each`."""
    return compiled_sum(x, y) if in_float32(x, y) else cpu.sum_with_each(x, y)


def gelu(x):
    """See `native.gelu`."""
    return exact_gelu(x) if x.dtype == ms.float32 else cpu.gelu(x)
