"""Join recordings of one repetition each to recordings whose repetitions are known.

Sizes: M persons, T frames, V joints, C coordinates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.errors import UserError

BLEND = 4  # frames over which a recording passes into the next one


def joined_by_name(
    recordings: Sequence[Recording],
    splits: Mapping[str, Sequence[str]],
    number: int,
    center: int,
) -> dict[str, list[Recording]]:
    """What each recording, by name, becomes: the first of a group the joined one, others nothing.

    A group is up to `number` successive recordings of one subject and class that are in the same
    splits and have as many persons.

    Args:
        center: the joint at which recordings are put together.

    Raises:
        UserError: a recording's subject is not known.
    """
    within: dict[str, list[str]] = {one.name: [] for one in recordings}
    for split, names in splits.items():
        for name in names:
            if name in within:
                within[name].append(split)
    groups: dict[tuple, list[Recording]] = {}
    for one in recordings:
        if one.subject is None:
            raise UserError(f"`join` needs the subject of each recording; {one.name!r} has none.")
        shape = (len(one.keypoints), one.keypoints.shape[2:], one.scores is None)
        key = (one.subject, one.label, tuple(within[one.name]), *shape)
        groups.setdefault(key, []).append(one)
    found: dict[str, list[Recording]] = {one.name: [] for one in recordings}
    for members in groups.values():
        for start in range(0, len(members), number):
            part = members[start : start + number]
            found[part[0].name] = [joined_recording(part, center)]
    return found


def joined_recording(recordings: Sequence[Recording], center: int) -> Recording:
    """The recordings one after the other, each a repetition, with the first one's name.

    Each is moved so that joint `center` starts where it was at the end of the one before; its first
    frames pass over from there linearly. A missing joint stays missing.
    """
    keypoints = [recordings[0].keypoints.astype(np.float32)]
    for one in recordings[1:]:
        last, new = keypoints[-1][:, -1], one.keypoints.astype(np.float32)  # (M, V, C)
        there = new.any(-1, keepdims=True)
        new = new + (last[:, center] - new[:, 0, center])[:, None, None]
        size = min(BLEND, new.shape[1])
        share = (np.arange(1, size + 1, dtype=np.float32) / (size + 1))[:, None, None]
        both = last.any(-1, keepdims=True)[:, None] & there[:, :1]
        offset = np.where(both, last[:, None] - new[:, :1], 0)
        new[:, :size] += (1 - share) * offset
        keypoints.append(new * there)
    lengths = [one.shape[1] for one in keypoints]
    stops = np.cumsum(lengths)
    scores = [one.scores for one in recordings if one.scores is not None]
    return replace(
        recordings[0],
        keypoints=np.concatenate(keypoints, 1),
        scores=np.concatenate(scores, 1) if scores else None,
        repetitions=np.stack([stops - lengths, stops - 1], 1).astype(np.int64),
    )
