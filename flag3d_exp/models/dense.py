"""Dense layers that start as PyTorch's do."""

from math import prod

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Uniform, initializer


class Dense(nn.Cell):
    """(..., C) -> (..., C'): one matrix product."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__()
        init = uniform(in_channels)
        self.weight = Parameter(initializer(init, (out_channels, in_channels)), name="weight")
        self.bias = Parameter(initializer(init, out_channels), name="bias") if bias else None
        self.product = ops.MatMul(transpose_b=True)

    def construct(self, x):
        out = self.product(x.reshape(-1, x.shape[-1]), self.weight)
        if self.bias is not None:
            out = ops.bias_add(out, self.bias)
        return out.reshape(*x.shape[:-1], out.shape[-1])

    def multiply_adds(self, _x, out):
        """Of one pass, given the shapes of input and output."""
        return prod(out) * self.weight.shape[1]


def uniform(fan_in: int) -> Uniform:
    """Within 1 / sqrt(fan-in): PyTorch's initialisation of convolutions and dense layers."""
    return Uniform(fan_in**-0.5)
