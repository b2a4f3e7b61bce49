"""A backbone with a head that predicts coordinates.

Sizes: N clips, M persons, T frames, V joints, C channels; features (N, M, C', T', V') of each
joint, V' = V, or of the whole body, V' = 1.
"""

from collections.abc import Sequence

import mindspore as ms
from mindspore import Parameter, nn, ops
from mindspore.common.initializer import Normal, initializer

from flag3d_exp.errors import UserError
from flag3d_exp.models.classifier import check_takes_keypoints


class Reconstructor(nn.Cell):
    """keypoints (N, M, T, V, C) -> coordinates (N, M, T, V, D).

    Parameters of the backbone keep their names; those of the head are `head.<name>`.

    Args:
        backbone: returns features of joints, or of whole persons. It may have a method
            `chance(clip shape, rng) -> arrays` that draws random arrays for training, which are
            passed after the keypoints.
        shape: (1, M, T, V, C) of one clip.
        num_coordinates: D.

    Raises:
        UserError: the backbone's features are not of persons.
    """

    def __init__(self, backbone: nn.Cell, shape: Sequence[int], num_coordinates: int):
        super().__init__(auto_prefix=False)
        check_takes_keypoints(backbone)
        found = backbone.set_train(False)(ops.zeros(tuple(shape), ms.float32)).shape
        _, num_persons, num_frames, num_joints, _ = shape
        if len(found) != 5 or found[1] != num_persons or found[4] not in (num_joints, 1):
            raise UserError(
                "this `problem` needs a network whose features are of persons and joints, "
                f"such as `model=stgcn`; {type(backbone).__name__} gives an array of {found}."
            )
        self.backbone = backbone
        ratio, size = -(-num_frames // found[3]), num_joints // found[4] * num_coordinates
        self.head = PlaceHead(backbone.features, ratio, size, num_coordinates)
        self.head.update_parameters_name("head.")

    def construct(self, keypoints, *drawn):
        """keypoints (N, M, T, V, C); drawn: the arrays from `backbone.chance`."""
        predicted = self.head(self.backbone(keypoints, *drawn))
        return ops.narrow(predicted, 2, 0, keypoints.shape[2])


class PlaceHead(nn.Cell):
    """One dense layer from features to coordinates.

    Args:
        ratio: output frames per frame of features.
        place_size: coordinates per frame for one position of the features: of one joint, or of all.
        num_coordinates: D.
    """

    def __init__(self, num_features: int, ratio: int, place_size: int, num_coordinates: int):
        super().__init__()
        size = ratio * place_size
        self.ratio, self.num_coordinates = ratio, num_coordinates
        self.weight = Parameter(initializer(Normal(0.01), (size, num_features)), name="weight")
        self.bias = Parameter(initializer("zeros", size), name="bias")

    def construct(self, features):
        """features (N, M, C', T', V') -> (N, M, ratio * T', V, D)."""
        n, m, _, t, v = features.shape
        x = ops.matmul(features.transpose(0, 1, 3, 4, 2), self.weight.T) + self.bias
        x = x.reshape(n, m, t, v, self.ratio, -1).transpose(0, 1, 2, 4, 3, 5)
        return x.reshape(n, m, t * self.ratio, -1, self.num_coordinates)

    def multiply_adds(self, x, _out):
        """Multiply-adds of one pass, for these shapes of input and output."""
        return x[0] * x[1] * x[3] * x[4] * self.weight.size
