"""A problem of one's own that is no classification: how far the joints of a clip travel."""

from dataclasses import dataclass

import numpy as np


def path_length(clips: np.ndarray) -> np.ndarray:
    """(..., M, T, V, C) -> (...): the mean way of a joint from frame to frame."""
    return np.linalg.norm(np.diff(clips, axis=-3), axis=-1).mean((-3, -2, -1), dtype=np.float64)


@dataclass(frozen=True)
class ToyProblem:
    """Settings of `problem=toy`."""

    objective: str = "error"
    metric_names = ("loss", "error")
    classifies = False

    def network(self, backbone):
        """keypoints -> (N, 1)."""
        from flag3d_exp.models.classifier import Classifier

        return Classifier(backbone, 1, backbone.dropout)

    def criterion(self, targets):
        """The squared error."""
        from toy_loss import SquaredError

        return SquaredError()

    def chance(self, network, shape, rng):
        """What the backbone draws."""
        return network.backbone.chance(shape, rng) if hasattr(network.backbone, "chance") else {}

    def batch(self, clips, targets, chance):
        """The clips, and the length that is to be told."""
        inputs = {"keypoints": clips}
        if chance:
            inputs |= {"dropout_mask": np.ones((len(clips), 8), np.float32), **chance}
        return inputs, {"length": path_length(clips).astype(np.float32)}

    def test_inputs(self, clips, targets):
        """The clips."""
        return {"keypoints": clips}

    def predictions(self, outputs, clips):
        """(n, 2): told and true, the means over a recording's clips."""
        return np.stack([outputs[..., 0].mean(1), path_length(clips).mean(1)], axis=-1)

    def metrics(self, predictions, targets):
        """The mean squared and the mean absolute error."""
        error = predictions[:, 0] - predictions[:, 1]
        return {"loss": float(np.square(error).mean()), "error": float(np.abs(error).mean())}

    def arrays_to_save(self, predictions, targets):
        """`told`, `true` (n,)."""
        return {"told": predictions[:, 0], "true": predictions[:, 1]}
