"""Scores of whole splits: nothing dropped, clips of a recording averaged after softmax.

Legend: N clips in a batch, K classes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from flag3d_exp.engine.checkpoint import Arrays
from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.metrics import average_clips

Predict = Callable[[np.ndarray], np.ndarray]


def predict_function(model: nn.Cell, jit: bool) -> Predict:
    """clips (N, M, T, V, C) -> logits (N, K), the model in evaluation mode.

    A function of its own, never shared with training: a compiled function keeps the mode in which
    it was first called.
    """

    def forward(clips):
        return model(clips, None)

    compiled: Any = ms.jit(forward) if jit else forward

    def predict(clips: np.ndarray) -> np.ndarray:
        model.set_train(False)
        return compiled(Tensor(clips)).asnumpy().astype(np.float32)

    return predict


def split_scores(
    predict: Predict, batches: Iterable, num_recordings: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Softmax scores (n, K) averaged over clips, and labels (n,), in the order of the recordings.

    Args:
        batches: with `clips` (N, num_clips, M, T, V, C), `labels` (N,) and `indices` (N,).
        batch_size: clips per forward pass; a short one is padded, so that one shape is compiled.
    """
    scores: np.ndarray | None = None
    labels = np.full(num_recordings, -1, np.int64)
    for batch in batches:
        num_recordings_here, num_clips = batch.clips.shape[:2]
        clips = batch.clips.reshape(-1, *batch.clips.shape[2:])
        logits = np.concatenate(
            [_padded(predict, part, batch_size) for part in _parts(clips, batch_size)]
        )
        mean = average_clips(logits.reshape(num_recordings_here, num_clips, -1))  # (N, K)
        if scores is None:
            scores = np.zeros((num_recordings, mean.shape[1]), np.float32)
        scores[batch.indices] = mean
        labels[batch.indices] = batch.labels
    if scores is None:
        raise ValueError("`batches` is empty: there is nothing to evaluate.")
    return scores, labels


@contextmanager
def weights_swapped(model: nn.Cell, values: Arrays) -> Iterator[None]:
    """The model with other weights (moving averages, say) for the time of the block."""
    parameters: list[Parameter] = list(model.get_parameters())
    own = parameter_values(parameters)
    assign_parameters(parameters, values)
    try:
        yield
    finally:
        assign_parameters(parameters, own)


def _parts(clips: np.ndarray, size: int) -> list[np.ndarray]:
    return [clips[start : start + size] for start in range(0, len(clips), size)]


def _padded(predict: Predict, clips: np.ndarray, batch_size: int) -> np.ndarray:
    lacking = batch_size - len(clips)
    if lacking:
        clips = np.concatenate([clips, np.repeat(clips[-1:], lacking, axis=0)])
    logits = predict(clips)
    return logits[: batch_size - lacking]
