"""Layers as matrix products, for CPUs. The functions are documented in `native`.

`conv2d` is `arranged_weight` followed by `conv2d_arranged`. In evaluation the weights do not
change, so `arranged_weight` is called only once.
"""

from mindspore import ops

from flag3d_exp.mindspore_adapter import isconstant
from flag3d_exp.models.kernels import native
from flag3d_exp.models.kernels.frames import neighbouring_frames, sum_of_shifted
from flag3d_exp.models.kernels.native import batch_norm as batch_norm
from flag3d_exp.models.kernels.native import gelu as gelu
from flag3d_exp.models.kernels.native import relu_of_biased as relu_of_biased
from flag3d_exp.models.kernels.native import relu_of_sum as relu_of_sum
from flag3d_exp.models.kernels.native import running_norm as running_norm
from flag3d_exp.models.kernels.native import sum_with_each as sum_with_each
from flag3d_exp.models.kernels.products import channel_product
from flag3d_exp.models.kernels.slices import num_places, unfolded_by_slices

GROUP = 3  # frames of a long kernel that are unfolded together
GROUPED_CHANNELS = 128  # limit; with more channels the product takes longer than the unfolding
MAX_UNFOLDED = 64 << 20  # numbers (256 MB) that are unfolded at once


def recomputed(kernel):
    """See `native.recomputed`: unfolded arrays and copies of weights."""
    return True


def conv2d(x, weight, bias, stride, dilation, training):
    """Convolution by im2col, or cheaper if the kernel's shape allows; see `native.conv2d`."""
    matrix = arranged_weight(weight, stride, dilation)
    return conv2d_arranged(x, matrix, weight.shape, bias, stride, dilation, training)


def arranged_weight(weight, stride, dilation):
    """weight (O, C, rows, columns) -> the matrix (O', C') to multiply with C' rows of the input.

    C' counts channels times unfolded kernel positions. O' also counts the kernel positions whose
    products are shifted and added.
    """
    out_channels, c = weight.shape[:2]
    if by_places(weight.shape, stride):
        return weight.reshape(c, -1).T  # (rows * columns, C)
    if by_groups(weight.shape, stride, dilation):
        weight = weight.reshape(out_channels, c, -1, GROUP).transpose(2, 0, 1, 3)
        return weight.reshape(-1, c * GROUP)
    return weight.reshape(out_channels, -1)


def conv2d_arranged(x, matrix, shape, bias, stride, dilation, training):
    """`conv2d` with the matrix from `arranged_weight`, or N copies of it.

    Args:
        shape: (O, C, rows, columns) of the weight.
    """
    if by_places(shape, stride):
        return sum_of_places(x, matrix, shape, bias, dilation)
    if by_groups(shape, stride, dilation):
        out = sum_of_groups(x, matrix, shape, training)
        return out if bias is None else ops.bias_add(out, bias)
    _, c, h, w = x.shape
    rows, columns = shape[2:]
    above, beside = padding(shape, dilation)
    out_h = num_places(h, rows, dilation[0], above, stride[0])
    out_w = num_places(w, columns, dilation[1], beside, stride[1])
    # -1, because MindSpore 2.10 mixes up shapes in a file for any number of clips.
    if rows == columns == stride[0] == stride[1] == 1:
        unfolded = x.reshape(-1, c, h * w)
    elif training or columns > 1 or stride[1] > 1:
        unfolded = ops.unfold(x, (rows, columns), dilation, (above, beside), stride)
    else:
        unfolded = unfolded_by_slices(x, rows, dilation[0], above, stride[0])
    return channel_product(matrix, unfolded, bias).reshape(-1, shape[0], out_h, out_w)


def by_places(shape, stride):
    """Whether to shift and add the products of each kernel position: for one output channel."""
    return shape[0] == 1 and stride[0] == stride[1] == 1


def by_groups(shape, stride, dilation):
    """Whether to unfold a kernel (rows, 1) in groups of `GROUP` rows: for example 9 or 15 rows."""
    out_channels, in_channels, rows, columns = shape
    return (
        rows > GROUP
        and rows % (2 * GROUP) == GROUP  # an odd number keeps the size
        and columns == 1
        and stride[0] == stride[1] == dilation[0] == dilation[1] == 1
        and max(in_channels, out_channels) <= GROUPED_CHANNELS
    )


def padding(shape, dilation):
    """Rows and columns of zero padding on each side that keep the size."""
    return (shape[2] - 1) * dilation[0] // 2, (shape[3] - 1) * dilation[1] // 2


def sum_of_groups(x, matrix, shape, training):
    """Convolution with a kernel (GROUP * n, 1), of which only GROUP rows are unfolded.

    It reads and writes 1/n of the memory of a full unfolding. The products with each group of the
    kernel's rows are then shifted and added.
    """
    n, c, h, w = x.shape
    groups = shape[2] // GROUP
    zeros = ops.zeros((n, c, shape[2] // 2, w), x.dtype)
    padded = ops.concat([zeros, x, zeros], 2)
    if training:
        columns = ops.unfold(padded, (GROUP, 1), 1, 0, 1)
    else:
        columns = unfolded_by_slices(padded, GROUP)
    products = channel_product(matrix, columns)
    products = products.reshape(n, groups, -1, h + (groups - 1) * GROUP, w)
    first, *others = ops.unbind(products, 1)  # (N, O, H + (groups - 1) * GROUP, W)
    total = first[:, :, :h]
    for number, other in enumerate(others, 1):
        total = total + other[:, :, number * GROUP : number * GROUP + h]
    return total


def sum_of_places(x, matrix, shape, bias, dilation):
    """Convolution to one channel: multiply first, then shift and add the products.

    There are fewer products, one per kernel position, than channels of the input.
    """
    n, c, h, w = x.shape
    rows, columns = shape[2:]
    products = channel_product(matrix, x.reshape(n, c, h * w)).reshape(n, -1, h, w)
    unfolded = ops.unfold(products, (rows, columns), dilation, padding(shape, dilation), (1, 1))
    count = rows * columns
    own_place = ops.eye(count, count, x.dtype).reshape(1, -1)
    return channel_product(own_place, unfolded, bias).reshape(n, 1, h, w)


def conv3d(x, weight, num_frames, stride):
    """See `native.conv3d`."""
    _, c, frames, rows, columns = weight.shape
    _, _, h, w = x.shape
    if rows == columns == stride == 1:
        return sum_of_frames(x, weight, num_frames)
    out_h, out_w = (h - 1) // stride + 1, (w - 1) // stride + 1
    x = neighbouring_frames(x, num_frames, frames)  # (N * T, frames * C, H, W)
    weight = weight.transpose(0, 2, 1, 3, 4).reshape(weight.shape[0], -1)
    at_once = max(1, MAX_UNFOLDED // (weight.shape[1] * out_h * out_w))
    parts = [x]
    if isconstant(x.shape[0]):  # it is not in a file for any number of clips
        parts = [x[first : first + at_once] for first in range(0, x.shape[0], at_once)]
    parts = [multiplied(part, weight, rows, columns, stride) for part in parts]
    out = parts[0] if len(parts) == 1 else ops.concat(parts)
    return out.reshape(x.shape[0], -1, out_h, out_w)


def multiplied(x, weight, rows, columns, stride):
    """x (N * T, C, H, W), weight (O, C * rows * columns) -> (N * T, O, H' * W')."""
    if stride == 1:
        return sum_of_rows(x, weight, rows, columns)
    pads = (rows // 2, columns // 2)
    return channel_product(weight, ops.unfold(x, (rows, columns), 1, pads, stride))


def sum_of_frames(x, weight, num_frames):
    """Convolution with a kernel (frames, 1, 1): shift and add the products with each of its frames.

    The products have `frames` times the output's channels. Gathering neighbouring frames first
    would take `frames` times the input's channels, which are more in every network here.
    """
    frames = weight.shape[2]
    nt, c, h, w = x.shape
    weight = weight.reshape(-1, c, frames).transpose(2, 0, 1).reshape(-1, c)
    products = channel_product(weight, x.reshape(nt, c, h * w))  # (N * T, frames * O, H * W)
    if frames == 1:
        return products.reshape(nt, -1, h, w)
    taps = products.reshape(-1, num_frames, frames, weight.shape[0] // frames, h * w)
    return sum_of_shifted(ops.unbind(taps, 2)).reshape(nt, -1, h, w)


def sum_of_rows(x, weight, rows, columns):
    """x (N * T, C, H, W), weight (O, C * rows * columns) -> (N * T, O, H * W).

    Each row of the kernel is multiplied with the frame unfolded only along columns, which is `rows`
    times smaller than unfolded along both axes. The products are then shifted and added.
    """
    nt, c, h, w = x.shape
    weight = weight.reshape(-1, c, rows, columns).transpose(2, 0, 1, 3)
    above, beside = rows // 2, columns // 2
    zeros = ops.zeros((nt, c, above, w), x.dtype)
    unfolded = ops.unfold(ops.concat([zeros, x, zeros], 2), (1, columns), 1, (0, beside), 1)
    products = channel_product(weight.reshape(-1, c * columns), unfolded)
    first, *others = ops.unbind(products.reshape(nt, rows, -1, (h + 2 * above) * w), 1)
    total = first[:, :, : h * w]
    for number, other in enumerate(others, 1):
        total = total + other[:, :, number * w : (number + h) * w]
    return total


def depthwise_conv3d(x, weight, num_frames, stride):
    """See `native.depthwise_conv3d`."""
    nt, c, h, w = x.shape
    _, _, frames, rows, columns = weight.shape
    out_h, out_w = (h - 1) // stride + 1, (w - 1) // stride + 1
    if rows == columns == stride == 1:
        unfolded = x.reshape(nt, c, 1, h * w)
    else:
        unfolded = ops.unfold(x, (rows, columns), 1, (rows // 2, columns // 2), stride)
        unfolded = unfolded.reshape(nt, c, rows * columns, out_h * out_w)
    weight = weight.reshape(1, c, frames, rows * columns)
    taps = ops.unbind(ops.bmm(ops.tile(weight, (nt, 1, 1, 1)), unfolded), 2)
    taps = [tap.reshape(nt // num_frames, num_frames, c, out_h, out_w) for tap in taps]
    return sum_of_shifted(taps).reshape(nt, c, out_h, out_w)


def mean(x, axes):
    """See `native.mean`. A matrix product takes a tenth of the time of MindSpore's reduction."""
    n, c, h, w = x.shape
    if axes == (2, 3):
        return ops.matmul(x.reshape(n * c, h * w), shares(h * w, x.dtype)).reshape(n, c)
    if axes == (3,):
        return ops.matmul(x.reshape(n * c * h, w), shares(w, x.dtype)).reshape(n, c, h)
    rows = ops.tile(shares(h, x.dtype).reshape(1, 1, h), (n * c, 1, 1))
    return ops.bmm(rows, x.reshape(n * c, h, w)).reshape(n, c, w)


def shares(count, dtype):
    """(count, 1) weights 1 / count of a mean."""
    return ops.ones((count, 1), dtype) / count


# For a broadcast sum or product, MindSpore allocates two tables of eight bytes per number of the
# result on a CPU. Matrix products need none.


def outer_product(down, across):
    """See `native.outer_product`."""
    return ops.bmm(down.expand_dims(-1), across.expand_dims(-2))


def outer_sum(down, across):
    """See `native.outer_sum`."""
    columns = ops.stack([down, ops.ones_like(down)], -1)
    return ops.bmm(columns, ops.stack([ops.ones_like(across), across], -2))


def scaled_planes(planes, factors):
    """See `native.scaled_planes`."""
    flat = planes.reshape(*planes.shape[:-2], 1, -1)
    return ops.bmm(factors.expand_dims(-1).expand_dims(-1), flat).reshape(planes.shape)


def layer_norm(x, weight, bias, epsilon, training):
    """See `native.layer_norm`.

    In training, matrix products give the means for every channel, so that no broadcast is needed.
    MindSpore's own operator takes half the time without a gradient, but longer with one.
    """
    if not training:
        return native.layer_norm(x, weight, bias, epsilon, training)
    channels = weight.shape[0]
    rows = x.reshape(-1, channels)
    share = ops.ones((channels, channels), x.dtype) / channels
    centred = rows - ops.matmul(rows, share)
    variance = ops.matmul(centred * centred, share)
    normed = centred * ops.rsqrt(variance + epsilon)
    return (normed * weight + bias).reshape(x.shape)
