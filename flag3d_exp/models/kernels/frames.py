"""Volumes as frames (N * T, C, H, W): gather neighbouring frames and shift frames in time.

In this form 2D kernels can compute 3D convolutions; only kernels longer than one frame need the
number of frames per clip. Sizes: N clips, T frames, C channels.
"""

from mindspore import ops

from flag3d_exp.models.kernels.slices import every_nth


def neighbouring_frames(x, num_frames, count):
    """(N * T, C, H, W) -> (N * T, count * C, H, W): each frame with its neighbours, in order."""
    if count == 1:
        return x
    nt, c, h, w = x.shape
    clips = x.reshape(nt // num_frames, num_frames, c, h, w)
    around = [shifted_frames(clips, count // 2 - number) for number in range(count)]
    return ops.concat(around, 2).reshape(nt, count * c, h, w)


def sum_of_shifted(taps):
    """Sum of the products (N, T, ...) with each frame of a kernel, each shifted to its position."""
    middle = len(taps) // 2
    total = taps[middle]
    for number in range(len(taps)):
        if number != middle:
            total = total + shifted_frames(taps[number], middle - number)
    return total


def shifted_frames(x, shift):
    """x (N, T, ...) shifted by `shift` frames (later if positive), padded with zeros."""
    if shift == 0:
        return x
    away = min(abs(shift), x.shape[1])
    zeros = ops.zeros((x.shape[0], away, *x.shape[2:]), x.dtype)
    if shift > 0:
        return ops.concat([zeros, x[:, : x.shape[1] - away]], 1)
    return ops.concat([x[:, away:], zeros], 1)


def every_nth_frame(x, num_frames, step):
    """(N * T, C, H, W) -> (N * ceil(T / step), C, H, W): frames 0, step, 2 step, ..."""
    clips = x.reshape(-1, num_frames, *x.shape[1:])
    return every_nth(clips, step, 1).reshape(-1, *x.shape[1:])
