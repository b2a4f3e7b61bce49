"""Scores of whole splits: nothing dropped, clips of a recording averaged after softmax.

Legend: N clips in a batch, K classes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from mindspore import Parameter, nn

from flag3d_exp.engine.checkpoint import Arrays
from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.results.metrics import average_clips

Predict = Callable[[np.ndarray], np.ndarray]


def clip_scores(predict: Predict, batches: Iterable, batch_size: int) -> np.ndarray:
    """Softmax scores (n, K) averaged over clips, in the order in which the recordings come.

    Args:
        batches: with `clips` (N, num_clips, M, T, V, C).
        batch_size: clips per forward pass; a short one is padded, so that one shape is compiled.
    """
    scores: list[np.ndarray] = []
    for batch in batches:
        num_recordings, num_clips = batch.clips.shape[:2]
        clips = batch.clips.reshape(-1, *batch.clips.shape[2:])
        logits = np.concatenate(
            [_padded(predict, part, batch_size) for part in _parts(clips, batch_size)]
        )
        scores.append(average_clips(logits.reshape(num_recordings, num_clips, -1)))
    return np.concatenate(scores)


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
