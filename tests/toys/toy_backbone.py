"""A network of one's own, with chance of its own: each frame through one dense layer."""

import numpy as np
from mindspore import nn, ops

from flag3d_exp.skeletons.layout import load_layout


class ToyBackbone(nn.Cell):
    """keypoints (N, M, T, V, C) -> features (N, M, width, T, 1)."""

    def __init__(self, layout: str, num_channels: int, width: int = 8, noise: float = 0.1):
        super().__init__()
        self.frame = nn.Dense(load_layout(layout).num_joints * num_channels, width)
        self.features, self.dropout, self.noise = width, 0.0, noise

    def chance(self, shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """`gain` (N, 1, 1, 1): how much louder a clip is in training."""
        return {"gain": rng.normal(1, self.noise, (shape[0], 1, 1, 1)).astype(np.float32)}

    def construct(self, keypoints, gain=1.0):
        """keypoints (N, M, T, V, C); gain: what `chance` drew."""
        n, m, t, v, c = keypoints.shape
        x = ops.relu(self.frame(keypoints.reshape(n, m, t, v * c))) * gain
        return x.transpose(0, 1, 3, 2).expand_dims(-1)
