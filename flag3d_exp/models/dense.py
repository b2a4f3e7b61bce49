"""Layers of transformers: dense layers with PyTorch's initialisation, and layer norm."""

from math import prod

import numpy as np
from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Initializer, Uniform, initializer

from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.layers import EPSILON


class Dense(nn.Cell):
    """(..., C) -> (..., C'): one matrix product.

    Args:
        in_channels, out_channels: C and C'.
        bias: add one number to each output channel.
        init: initial weights; the bias then starts from zeros. None for PyTorch's of both.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bias: bool = True,
        init: Initializer | str | None = None,
    ):
        super().__init__()
        weights, biases = (uniform(in_channels),) * 2 if init is None else (init, "zeros")
        self.weight = Parameter(initializer(weights, (out_channels, in_channels)), name="weight")
        self.bias = Parameter(initializer(biases, out_channels), name="bias") if bias else None
        self.product = ops.MatMul(transpose_b=True)

    def construct(self, x):
        out = self.product(x.reshape(-1, x.shape[-1]), self.weight)
        if self.bias is not None:
            out = ops.bias_add(out, self.bias)
        return out.reshape(*x.shape[:-1], out.shape[-1])

    def multiply_adds(self, _x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return prod(out) * self.weight.shape[1]


class LayerNorm(nn.Cell):
    """Layer norm of (..., C)."""

    def __init__(self, num_channels: int):
        super().__init__()
        self.weight = Parameter(np.ones(num_channels, np.float32), name="weight")
        self.bias = Parameter(np.zeros(num_channels, np.float32), name="bias")
        self.layer_norm = kernels().layer_norm

    def construct(self, x):
        return self.layer_norm(x, self.weight, self.bias, EPSILON, self.training)


def uniform(fan_in: int) -> Uniform:
    """Uniform within 1 / sqrt(fan-in): PyTorch's default for convolutions and dense layers."""
    return Uniform(fan_in**-0.5)
