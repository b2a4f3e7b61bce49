"""Predictions of a network as it is, or as it is being trained.

Legend: N clips in a batch, M persons, T frames, V joints, C channels, K classes.
"""

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from flag3d_exp.models.folding import keep_weights, take_weights, with_norms_folded


class Predictor:
    """clips (N, M, T, V, C) -> logits (N, K), the model in evaluation mode.

    A function of its own, never shared with training: a compiled function keeps the mode in which
    it was first called.
    """

    def __init__(self, model: nn.Cell, jit: bool):
        self.model = model
        self.network = network = with_norms_folded(model)

        def forward(clips):
            return network(clips, None)

        self.forward: Any = ms.jit(forward) if jit else forward
        self._num_inputs: int | None = None  # clips times persons of the first pass
        self.refresh()

    def refresh(self) -> None:
        """To be called when the model's weights have changed."""
        take_weights(self.network, self.model)
        if self._num_inputs is not None:
            keep_weights(self.network, self.model, self._num_inputs)

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """The logits."""
        if self._num_inputs is None:
            self._num_inputs = clips.shape[0] * clips.shape[1]
            keep_weights(self.network, self.model, self._num_inputs)
        self.network.set_train(False)
        return self.forward(Tensor(clips)).asnumpy().astype(np.float32)
