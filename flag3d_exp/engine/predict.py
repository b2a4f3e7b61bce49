"""Predictions of a network, also of one that is still being trained.

Sizes: N clips in a batch, M persons, T frames, V joints, C channels.
"""

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from flag3d_exp.models.folding import FoldedCopy


class Predictor:
    """The network's inputs, keypoints first -> its outputs, with the model in evaluation mode.

    The compiled function is never shared with training, because it keeps the mode of its first
    call.
    """

    def __init__(self, model: nn.Cell, jit: bool):
        self.model = model
        self.folded = FoldedCopy(model)
        self.network = network = self.folded.network

        def forward(*inputs):
            return network(*inputs)

        self.forward: Any = ms.jit(forward) if jit else forward
        self._num_inputs: int | None = None  # clips times persons of the first pass
        self.refresh()

    def refresh(self) -> None:
        """Reload the model's weights; call this after they have changed."""
        self.folded.take_weights()
        if self._num_inputs is not None:
            self.folded.keep_weights(self._num_inputs)

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        """The outputs (N, ...) for keypoints (N, M, T, V, C)."""
        if self._num_inputs is None:
            self._num_inputs = inputs[0].shape[0] * inputs[0].shape[1]
            self.folded.keep_weights(self._num_inputs)
        self.network.set_train(False)
        return self.forward(*[Tensor(array) for array in inputs]).asnumpy().astype(np.float32)
