"""Track persons over the frames of a video by the overlap of their boxes.

Sizes: n detections, m detections of a frame, V joints, D coordinates, M persons, T frames.
"""

import numpy as np

from flag3d_exp.errors import UserError

MIN_OVERLAP = 0.1  # intersection over union of a person's boxes in two frames
MAX_GAP = 30  # frames for which a person may be invisible and keep the identity
# Persons seen in fewer frames than this (in short videos: than half of all frames) are false
# detections, if others are seen longer.
MIN_FRAMES = 12
MAX_IN_FRAME = 200  # persons
MAX_FRAMES = 1_000_000
# Limits on the numbers in a recording's arrays: a number that any recording may have, and numbers
# per number in the file.
FREE_NUMBERS, MAX_SPARSITY = 5_000_000, 50


def boxes(keypoints: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(n, 4) boxes (low x, low y, high x, high y) of the joints (n, V, D) that are seen (n, V).

    Boxes are widened by a tenth of their longer side, so that those of thin persons overlap. NaN
    if no joint is seen.
    """
    places = np.where(seen[..., None], keypoints[..., :2], np.nan)
    found = np.full((len(keypoints), 4), np.nan)
    there = seen.any(1)
    found[there, :2] = np.nanmin(places[there], 1)
    found[there, 2:] = np.nanmax(places[there], 1)
    margin = 0.1 * (found[:, 2:] - found[:, :2]).max(1, initial=0)[:, None]
    found[:, :2] -= margin
    found[:, 2:] += margin
    return found


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(a, b) intersection over union of boxes (a, 4) and (b, 4); 0 for boxes without area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(-1)
    areas = [(one[:, 2:] - one[:, :2]).prod(-1) for one in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-12), 0)


class PersonTracker:
    """Assigns identities to boxes frame by frame, maximising the total overlap.

    A box that does not overlap enough with any box of the last `MAX_GAP` frames is a new person,
    with the next number from 0.
    """

    def __init__(self) -> None:
        self.boxes = np.zeros((0, 4))  # the last box of each recent person
        self.frames = np.zeros(0, np.int64)
        self.identities = np.zeros(0, np.int64)
        self.next_identity = 0

    def step(self, frame: int, found: np.ndarray) -> np.ndarray:
        """(m,) int64 identities of the boxes (m, 4) of a frame; -1 where a box is NaN.

        Raises:
            UserError: there are too many boxes.
        """
        from scipy.optimize import linear_sum_assignment  # slow import, needed by few commands

        if len(found) > MAX_IN_FRAME:
            raise UserError(
                f"frame {frame} has {len(found)} persons; at most {MAX_IN_FRAME} are accepted."
            )
        given = np.full(len(found), -1, np.int64)
        known = np.flatnonzero(np.isfinite(found).all(1))
        recent = frame - self.frames <= MAX_GAP
        self.boxes, self.frames = self.boxes[recent], self.frames[recent]
        self.identities = self.identities[recent]
        shares = overlap(found[known], self.boxes)
        for row, column in zip(*linear_sum_assignment(-shares), strict=True):
            if shares[row, column] >= MIN_OVERLAP:
                given[known[row]] = self.identities[column]
                self.boxes[column], self.frames[column] = found[known[row]], frame
        new = known[given[known] < 0]
        given[new] = np.arange(self.next_identity, self.next_identity + len(new))
        self.next_identity += len(new)
        self.boxes = np.concatenate([self.boxes, found[new]])
        self.frames = np.concatenate([self.frames, np.full(len(new), frame)])
        self.identities = np.concatenate([self.identities, given[new]])
        return given


def tracked_identities(frames: np.ndarray, keypoints: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(n,) int64 identities of detections, from a `PersonTracker`; -1 if no joint is seen.

    Args:
        frames: (n,), in any order.
        keypoints: (n, V, D).
        seen: (n, V) bool.

    Raises:
        UserError: a frame has too many persons.
    """
    found = boxes(keypoints, seen)
    identities = np.full(len(frames), -1, np.int64)
    order = np.argsort(frames, kind="stable")
    borders = np.flatnonzero(np.diff(frames[order])) + 1
    tracker = PersonTracker()
    for members in np.split(order, borders):
        identities[members] = tracker.step(int(frames[members[0]]), found[members])
    return identities


def lasting(identities: np.ndarray, num_frames: int, num_persons: int) -> np.ndarray:
    """Identities of at most `num_persons` persons, without false detections, seen longest first.

    Args:
        identities: (n,); -1 for no person.
    """
    known, counts = np.unique(identities[identities >= 0], return_counts=True)
    enough = counts >= min(MIN_FRAMES, num_frames / 2)
    if enough.any():
        known, counts = known[enough], counts[enough]
    return known[np.argsort(-counts, kind="stable")][:num_persons]


def arrays(
    frames: np.ndarray,
    identities: np.ndarray,
    persons: np.ndarray,
    span: tuple[int, int],
    values: np.ndarray,
) -> np.ndarray:
    """(M, T, ...) array of the values (n, ...) of detections; 0 where a person is not seen.

    Args:
        persons: (M,) identities.
        span: first and last frame.

    Raises:
        UserError: there are too many frames for the number of detections.
    """
    num_frames = span[1] - span[0] + 1
    shape = (len(persons), num_frames, *values.shape[1:])
    total = int(np.prod(shape, dtype=np.float64))
    if num_frames > MAX_FRAMES or total > FREE_NUMBERS + MAX_SPARSITY * values.size:
        raise UserError(
            f"frames {span[0]} to {span[1]} and {len(persons)} persons are too many for "
            f"{len(values)} detections."
        )
    made = np.zeros(shape, np.float32)
    for person, identity in enumerate(persons):
        own = identities == identity
        made[person, frames[own] - span[0]] = values[own]
    return made
