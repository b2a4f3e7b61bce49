"""Outputs of a network for whole splits: no recording left out, every clip of it seen."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from mindspore import Parameter, nn

from flag3d_exp.engine.checkpoint import Arrays
from flag3d_exp.engine.parameters import assign_parameters, parameter_values

Predict = Callable[[np.ndarray], np.ndarray]


def clip_outputs(predict: Predict, batches: Iterable, batch_size: int) -> Iterator[np.ndarray]:
    """Outputs (N, num_clips, ...) of each batch's clips.

    Args:
        batches: with `clips` (N, num_clips, M, T, V, C).
        batch_size: clips per forward pass; a short one is padded, so that one shape is compiled.
    """
    for batch in batches:
        num_recordings, num_clips = batch.clips.shape[:2]
        clips = batch.clips.reshape(-1, *batch.clips.shape[2:])
        outputs = np.concatenate(
            [_padded(predict, part, batch_size) for part in _parts(clips, batch_size)]
        )
        yield outputs.reshape(num_recordings, num_clips, *outputs.shape[1:])


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
    outputs = predict(clips)
    return outputs[: batch_size - lacking]
