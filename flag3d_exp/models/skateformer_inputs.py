"""The order of joints and the times of frames that SkateFormer takes.

This module does not import MindSpore, because the benchmark's network in PyTorch uses it, too.
"""

from collections.abc import Sequence

import numpy as np

from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

KERNEL = 7  # frames of convolutions over time
NUM_GROUPS = 8  # channel groups of convolutions
NUM_HEADS = 4  # of each attention
STEM = (6, 9)  # channels
# Joints ordered by limb, so that consecutive joints belong together, and the numbers of joints in
# a window: of consecutive joints and of strided joints.
LIMBS: dict[str, tuple[tuple[int, ...], tuple[int, int]]] = {
    "nturgb+d": (  # arms, legs, shoulders, trunk and head; without the spine at the shoulders
        (6, 7, 21, 22, 10, 11, 23, 24, 12, 13, 14, 15, 16, 17, 18, 19, 4, 8, 5, 9, 1, 2, 0, 3),
        (8, 12),
    ),
    "kinect20": (tuple([*range(4, 20), 1, 2, 0, 3]), (4, 5)),  # arms, legs, trunk and head
    "coco": ((6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 4, 0, 3), (3, 5)),  # not the eyes
}


def frequencies(num_channels: int) -> np.ndarray:
    """(C / 2,) frequencies of the time code, from 1 to 1 / 10,000."""
    pairs = np.arange(num_channels // 2)
    return (10000.0 ** (-2 * pairs / num_channels)).astype(np.float32)


def evenly_spread(num_frames: int) -> np.ndarray:
    """(T,) times of frames that are evenly spread over a recording."""
    return (2 * np.arange(num_frames) / num_frames - 1).astype(np.float32)


def joints_of(
    layout: str,
    joint_order: Sequence[str | int] | None,
    window_joints: Sequence[int] | None,
    num_persons: int,
) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The joints in order, and the numbers of consecutive and of strided joints in a window.

    Raises:
        UserError: a joint is unknown, or the joints can't be divided into windows.
    """
    skeleton = load_layout(layout)
    order, sizes = LIMBS.get(layout, (tuple(range(skeleton.num_joints)), None))
    if joint_order is not None:
        found = [skeleton.joint_number(str(joint)) for joint in joint_order]
        if None in found or len(set(found)) < len(found):
            raise UserError(
                f"`model.joint_order` must name joints of layout {layout}, each at most once; got "
                f"{list(joint_order)}."
            )
        order, sizes = tuple(joint for joint in found if joint is not None), None
    count = len(order)
    if window_joints is not None:
        if len(window_joints) != 2 or any(num_persons * count % size for size in window_joints):
            raise UserError(
                f"`model.window_joints` must be two numbers that divide {num_persons * count} "
                f"joints; got {list(window_joints)}."
            )
        sizes = (window_joints[0], window_joints[1])
    if sizes is None:
        sizes = (largest_divisor(count, 8), largest_divisor(count, 12))
    return order, sizes


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of a number that is at most `limit`."""
    return next(size for size in range(limit, 0, -1) if number % size == 0)
