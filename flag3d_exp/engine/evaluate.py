"""Outputs of a network for whole splits: all recordings, and all test clips of each."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from mindspore import Parameter, nn

from flag3d_exp.engine.checkpoint import Arrays
from flag3d_exp.engine.parameters import assign_parameters, parameter_values

Predict = Callable[..., np.ndarray]


def clip_outputs(
    predict: Predict,
    batches: Iterable,
    batch_size: int,
    inputs: Callable[[np.ndarray, Arrays], Mapping[str, np.ndarray]],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Clips (N, num_clips, M, T, V, C) and outputs (N, num_clips, ...) of each batch.

    Args:
        batches: with arrays `clips` and `labels` (N,).
        batch_size: clips per forward pass; a short batch is padded, so that one shape is compiled.
        inputs: clips (n, M, T, V, C) and targets, `label` (n,) -> the inputs of `predict`, in
            order.
    """
    for batch in batches:
        num_recordings, num_clips = batch.clips.shape[:2]
        clips = batch.clips.reshape(-1, *batch.clips.shape[2:])
        labels = np.repeat(batch.labels, num_clips)
        found = []
        for start in range(0, len(clips), batch_size):
            part = slice(start, start + batch_size)
            targets = {"label": _padded_clips(labels[part], batch_size)}
            arrays = inputs(_padded_clips(clips[part], batch_size), targets)
            found.append(predict(*arrays.values())[: len(clips[part])])
        outputs = np.concatenate(found)
        yield batch.clips, outputs.reshape(num_recordings, num_clips, *outputs.shape[1:])


@contextmanager
def weights_swapped(model: nn.Cell, values: Arrays) -> Iterator[None]:
    """Give the model other weights, for example moving averages, during the block."""
    parameters: list[Parameter] = list(model.get_parameters())
    own = parameter_values(parameters)
    assign_parameters(parameters, values)
    try:
        yield
    finally:
        assign_parameters(parameters, own)


def _padded_clips(clips: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([clips, np.repeat(clips[-1:], size - len(clips), axis=0)])
