"""The common network of graph models, and the layers that they share.

Sizes: N clips, M persons, C channels, T frames, V joints, K neighbour subsets. Between the input
norm and the output, N counts clips times persons.
"""

from math import prod
from typing import Annotated

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import HeNormal, Initializer, initializer

from flag3d_exp.errors import UserError
from flag3d_exp.models.kernels import kernels
from flag3d_exp.models.kernels.products import channel_product
from flag3d_exp.models.layers import BatchNorm, ConvNorm
from flag3d_exp.skeletons.layout import Layout, load_layout


class GraphNetwork(nn.Cell):
    """keypoints (N, M, T, V, C) -> features (N, M, C', T', V).

    A batch norm of the keypoints, then blocks of a graph unit and a temporal unit. Models inherit
    from this class and define these units in `units`.

    Args:
        layout: name or YAML file of the joints' layout.
        num_persons: with more than one, each has its own input norm if `norm_per_person`.
        base_channels: channels of the first block.
        widen_at: blocks, counted from 1, that double the channels and halve the frames.
        dropout: share of the features that the head drops in training.

    Attributes:
        features: channels C' of the output.
    """

    norm_per_person = True

    def __init__(
        self,
        layout: str,
        num_channels: int = 3,
        num_persons: int = 1,
        base_channels: Annotated[int, ">= 1"] = 64,
        num_blocks: Annotated[int, ">= 1"] = 10,
        widen_at: tuple[Annotated[int, ">= 1"], ...] = (5, 8),
        dropout: Annotated[float, ">= 0, < 1"] = 0.0,
    ):
        super().__init__()
        skeleton = load_layout(layout)
        persons = num_persons if self.norm_per_person else 1
        self.norm = KeypointNorm(skeleton.num_joints, num_channels, persons)
        plan = block_channels(num_channels, base_channels, num_blocks, widen_at)
        self.blocks = nn.CellList(
            [
                Block(*self.units(*sizes, skeleton), *sizes, residual=number > 0)
                for number, sizes in enumerate(plan)
            ]
        )
        self.features, self.dropout = plan[-1][1], dropout

    def units(
        self, in_channels: int, out_channels: int, stride: int, skeleton: Layout
    ) -> tuple[nn.Cell, nn.Cell]:
        """The graph unit and the temporal unit of a block; the latter has the stride."""
        raise NotImplementedError

    def construct(self, keypoints):
        x = self.norm(keypoints)  # (N * M, C, T, V)
        for block in self.blocks:
            x = block(x)
        n, m = keypoints.shape[:2]
        return x.reshape(n, m, *x.shape[1:])


class GraphConv(nn.Cell):
    """Sum over the neighbour subsets of a graph product and a 1x1 convolution, before a batch norm.

    Args:
        spread_bias: add each subset's bias before its graph product, so that it is multiplied by
            the adjacency (ST-GCN). Otherwise the norm adds the biases: see `channel_bias`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_subsets: int,
        spread_bias: bool = False,
        init: Initializer | None = None,
    ):
        super().__init__()
        shape = (num_subsets * out_channels, in_channels, 1, 1)
        self.weight = Parameter(initializer(init or HeNormal(mode="fan_out"), shape), name="weight")
        self.bias = Parameter(initializer("zeros", num_subsets * out_channels), name="bias")
        self.num_subsets, self.spread_bias = num_subsets, spread_bias
        self.sum_with_each = kernels().sum_with_each

    def construct(self, x, adjacency):
        """x (N, C, T, V), adjacency (K, V, V) or (N, K, V, V) -> (N, C', T, V).

        With `spread_bias` the adjacency must be (K, V, V).
        """
        n, _, t, v = x.shape
        x = graph_product(x, adjacency).reshape(n, -1, t * v)
        x = channel_product(self.matrix(), x).reshape(n, -1, t, v)
        if not self.spread_bias:
            return x
        biases = ops.matmul(self.subset_biases().T, adjacency.sum(-2))
        return self.sum_with_each(x, spread_over(biases, t))

    def matrix(self):
        """(C', K * C): the concatenated weights of the subsets."""
        k, c = self.num_subsets, self.weight.shape[1]
        return self.weight.reshape(k, -1, c).transpose(1, 0, 2).reshape(-1, k * c)

    def subset_biases(self):
        """(K, C')."""
        return self.bias.reshape(self.num_subsets, -1)

    def channel_bias(self):
        """(C',) or None: the bias that the norm adds; it does not depend on the adjacency."""
        return None if self.spread_bias else self.subset_biases().sum(0)

    def multiply_adds(self, x, out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return self.num_subsets * (prod(x) * x[3] + prod(out) * x[1])


class Block(nn.Cell):
    """Graph unit, then temporal unit, plus a residual; (N, C, T, V) in and out.

    The first block of a network has no residual. If the shape changes, the residual is a strided
    1x1 convolution.
    """

    def __init__(
        self,
        graph: nn.Cell,
        temporal: nn.Cell,
        in_channels: int,
        out_channels: int,
        stride: int,
        residual: bool,
    ):
        super().__init__()
        self.graph = graph
        self.temporal = temporal
        self.residual = residual
        self.shortcut = None
        if residual and (in_channels != out_channels or stride != 1):
            self.shortcut = ConvNorm(in_channels, out_channels, stride=(stride, 1))
        self.relu_of_sum = kernels().relu_of_sum

    def construct(self, x):
        out = self.temporal(self.graph(x))
        if not self.residual:
            return ops.relu(out)
        return self.relu_of_sum(out, x if self.shortcut is None else self.shortcut(x))


class KeypointNorm(nn.Cell):
    """Batch norm of every joint's coordinates over clips and frames; persons become clips.

    (N, M, T, V, C) -> (N * M, C, T, V). With `num_persons` above 1, each person has its own norm.
    """

    def __init__(self, num_joints: int, num_channels: int, num_persons: int = 1):
        super().__init__()
        self.norm = BatchNorm(num_persons * num_joints * num_channels)
        self.num_persons = num_persons

    def construct(self, keypoints):
        n, m, t, v, c = keypoints.shape
        x = keypoints.transpose(0, 1, 3, 4, 2)  # (N, M, V, C, T)
        x = self.norm(x.reshape(n * m // self.num_persons, self.num_persons * v * c, t, 1))
        return x.reshape(n * m, v, c, t).transpose(0, 2, 3, 1)  # (N * M, C, T, V)


def graph_product(x, adjacency):
    """x (N, C, T, V) times adjacency (K, V, V) or (N, K, V, V): (N, K * C, T, V)."""
    n, c, t, v = x.shape
    if adjacency.ndim == 3:
        rows = x.reshape(n * c * t, v)
        products = [ops.matmul(rows, a).reshape(n, c, t, v) for a in ops.unbind(adjacency)]
    else:
        rows = x.reshape(n, c * t, v)
        products = [ops.bmm(rows, a).reshape(n, c, t, v) for a in ops.unbind(adjacency, 1)]
    return ops.concat(products, 1)


def spread_over(values, num_frames):
    """values (C, V) -> (1, C, num_frames, V)."""
    return ops.tile(values.reshape(1, -1, 1, values.shape[1]), (1, 1, num_frames, 1))


def sum_of_subsets(x):
    """(N, K, ...) -> (N, ...). Adding slices takes half the time of a reduction on a CPU."""
    first, *others = ops.unbind(x, 1)
    for other in others:
        first = first + other
    return first


def block_channels(
    num_channels: int, base_channels: int, num_blocks: int, widen_at: tuple[int, ...]
) -> list[tuple[int, int, int]]:
    """(in channels, out channels, temporal stride) of each block of a graph network.

    The blocks `widen_at`, counted from 1, double the channels and halve the frames.

    Raises:
        UserError: a number is below 1.
    """
    for name, value in (("base_channels", base_channels), ("num_blocks", num_blocks)):
        if value < 1:
            raise UserError(f"`model.{name}` must be at least 1; got {value}.")
    plan, in_channels, out_channels = [], num_channels, base_channels
    for number in range(1, num_blocks + 1):
        widens = number in widen_at
        out_channels = out_channels * 2 if widens else out_channels
        plan.append((in_channels, out_channels, 2 if widens else 1))
        in_channels = out_channels
    return plan
