"""Products of one weight matrix with each clip of a batch, for all devices."""

from mindspore import ops


def channel_product(weight, x, bias=None):
    """weight (O, C), or N copies of it, times x (N, C, L), plus bias (O,): (N, O, L)."""
    x = ops.bmm(weight if weight.ndim == 3 else repeated_weight(weight, x.shape[0]), x)
    return x if bias is None else ops.bias_add(x, bias)


def repeated_weight(weight, count):
    """weight (O, C) -> (count, O, C): MindSpore's batched matmul does not broadcast.

    Tiling takes less time than `ops.matmul`, which broadcasts.
    """
    return ops.tile(weight, (count, 1)).reshape(count, *weight.shape)
