"""Layers by the device's own kernels, for GPU and Ascend. `cpu` has the same functions."""

from mindspore import ops

from flag3d_exp.models.kernels.frames import neighbouring_frames, sum_of_shifted

EPSILON = 1e-5  # of batch norm
MOMENTUM = 0.1  # weight of the newest batch in batch norm's running statistics


def recomputed(kernel):
    """Whether a `conv3d` (frames, rows, columns) keeps larger arrays than its input and output.

    Those are computed again in the backward pass to save memory.
    """
    return False


def conv2d(x, weight, bias, stride, dilation, training):
    """x (N, C, H, W), weight (O, C, rows, columns), bias (O,) or None: (N, O, H', W').

    Padded so that stride 1 keeps the size. `training`: whether gradients will be computed.
    """
    padding = (
        (weight.shape[2] - 1) * dilation[0] // 2,
        (weight.shape[3] - 1) * dilation[1] // 2,
    )
    return ops.conv2d(x, weight, bias, stride, "pad", padding, dilation)


def conv3d(x, weight, num_frames, stride):
    """x (N * T, C, H, W), weight (O, C, frames, rows, columns): (N * T, O, H', W').

    Padded so that stride 1 keeps the size; `stride` is that of rows and columns.
    """
    _, _, frames, rows, columns = weight.shape
    x = neighbouring_frames(x, num_frames, frames)  # (N * T, frames * C, H, W)
    weight = weight.transpose(0, 2, 1, 3, 4)  # (O, frames, C, rows, columns)
    weight = weight.reshape(weight.shape[0], -1, rows, columns)
    return ops.conv2d(x, weight, None, stride, "pad", (rows // 2, columns // 2))


def depthwise_conv3d(x, weight, num_frames, stride):
    """Depthwise `conv3d`: weight (C, 1, frames, rows, columns)."""
    nt, c, h, w = x.shape
    _, _, frames, rows, columns = weight.shape
    padding = (rows // 2, columns // 2)
    taps = [
        ops.conv2d(x, weight[:, :, k], None, stride, "pad", padding, 1, c) for k in range(frames)
    ]
    out_h, out_w = (h - 1) // stride + 1, (w - 1) // stride + 1
    taps = [tap.reshape(nt // num_frames, num_frames, c, out_h, out_w) for tap in taps]
    return sum_of_shifted(taps).reshape(nt, c, out_h, out_w)


def mean(x, axes):
    """Mean of x (N, C, H, W) over `axes`, one of (2,), (3,) and (2, 3), which are removed."""
    return x.mean(axes)


def outer_product(down, across):
    """down (..., S) of the rows, across (..., S) of the columns: (..., S, S)."""
    return down.expand_dims(-1) * across.expand_dims(-2)


def outer_sum(down, across):
    """down (..., S) of the rows, across (..., S) of the columns: (..., S, S)."""
    return down.expand_dims(-1) + across.expand_dims(-2)


def scaled_planes(planes, factors):
    """planes (..., S, S) times factors (...)."""
    return planes * factors.expand_dims(-1).expand_dims(-1)


def batch_norm(x, weight, bias, running_mean, running_var, relu):
    """Batch norm in training of x (N, C, H, W) by parameters (C,); then ReLU, if `relu`.

    It updates the running statistics; their variance is unbiased.
    """
    norm = ops.BatchNorm(is_training=True, epsilon=EPSILON, momentum=MOMENTUM)
    out = norm(x, weight, bias, running_mean, running_var)[0]
    return ops.relu(out) if relu else out


def running_norm(x, weight, bias, mean, variance, relu):
    """Batch norm of x (N, C, H, W) by given statistics (C,); then ReLU, if `relu`."""
    norm = ops.BatchNorm(is_training=False, epsilon=EPSILON)
    out = norm(x, weight, bias, mean, variance)[0]
    return ops.relu(out) if relu else out


def layer_norm(x, weight, bias, epsilon, training):
    """x (..., C) normalised over its last axis, times weight (C,), plus bias (C,)."""
    return ops.LayerNorm(-1, -1, epsilon)(x, weight, bias)[0]


def relu_of_sum(x, y):
    """ReLU of x (N, ...) + y (N, ...) or (1, ...)."""
    return ops.relu(x + y)


def relu_of_biased(x, bias):
    """ReLU of x (N, C, ...) + bias (C,)."""
    return ops.relu(ops.bias_add(x, bias))


def sum_with_each(x, y):
    """x (N, ...) + y (1, ...)."""
    return x + y


def gelu(x):
    """Exact GELU: x times the standard normal cumulative distribution at x."""
    return 0.5 * x * (1 + ops.erf(x * 2**-0.5))
