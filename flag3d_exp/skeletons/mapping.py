"""Map the joints of one layout to those of another.

Layouts are matched by places of the body. A joint's place is its name, unless the layout's `places`
gives another: OpenPose's neck is at `spine at the shoulders`. A place that a layout lacks may be
the mean of places that it has (`MEANS`).

Sizes: M persons, T frames, V joints, W joints of the target, D coordinates.
"""

import numpy as np

from flag3d_exp.skeletons.layout import Layout, words

# Places that some layouts lack, and the places whose mean replaces them.
MEANS = {
    "base of spine": ("left hip", "right hip"),
    "spine at the shoulders": ("left shoulder", "right shoulder"),
    "middle of spine": ("left shoulder", "right shoulder", "left hip", "right hip"),
    "neck": ("left ear", "right ear", "left shoulder", "right shoulder"),
    "head": ("left ear", "right ear"),
}
Sources = tuple[tuple[int, ...], ...]


def joint_sources(source: Layout, target: Layout) -> Sources:
    """For each joint of the target, the joints of the source to average; () if there are none."""
    if source.joints == target.joints:
        return tuple((joint,) for joint in range(target.num_joints))
    known = _places(source)
    means = {
        words(place): tuple(joint for name in names for joint in known[words(name)])
        for place, names in MEANS.items()
        if all(words(name) in known for name in names)
    }
    wanted = {joints[0]: place for place, joints in _places(target).items() if len(joints) == 1}
    found = means | known
    return tuple(found.get(wanted.get(joint, ""), ()) for joint in range(target.num_joints))


def relaid(
    keypoints: np.ndarray, scores: np.ndarray | None, sources: Sources
) -> tuple[np.ndarray, np.ndarray | None]:
    """Keypoints (M, T, W, D) and scores (M, T, W) of the target's joints.

    A joint is missing (0) if it has no source, or if one of its sources is missing (all coordinates
    or the score are 0). The score of a mean is the mean of the scores.

    Args:
        keypoints: (M, T, V, D).
        scores: (M, T, V), or None.
    """
    seen = (keypoints != 0).any(-1)
    if scores is not None:
        seen &= scores > 0
    shape = (*keypoints.shape[:2], len(sources))
    made = np.zeros((*shape, keypoints.shape[-1]), keypoints.dtype)
    made_scores = None if scores is None else np.zeros(shape, scores.dtype)
    for joint, numbers in enumerate(sources):
        if not numbers:
            continue
        order = list(numbers)
        there = seen[:, :, order].all(-1)  # (M, T)
        place = keypoints[:, :, order].mean(2, dtype=np.float32)
        made[:, :, joint] = np.where(there[..., None], place, 0)
        if made_scores is not None and scores is not None:
            mean = scores[:, :, order].mean(2, dtype=np.float32)
            made_scores[:, :, joint] = np.where(there, mean, 0)
    return made, made_scores


def without_source(sources: Sources, target: Layout) -> list[str]:
    """The names of the target's joints without a source."""
    pairs = zip(target.joints, sources, strict=True)
    return [joint for joint, numbers in pairs if not numbers]


def _places(layout: Layout) -> dict[str, tuple[int, ...]]:
    """The joints at each place of a layout; places are normalised by `words`."""
    given = {words(place): joints for place, joints in layout.places}
    named = {joints[0] for joints in given.values() if len(joints) == 1}
    own: dict[str, tuple[int, ...]] = {
        words(joint): (number,) for number, joint in enumerate(layout.joints) if number not in named
    }
    return own | given
